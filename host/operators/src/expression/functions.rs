//! The names that an expression may use besides columns: DataFusion's scalar functions, those that take one value out of a
//! list, and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF};
use datafusion_functions_nested::array_has::array_has_udf;
use datafusion_functions_nested::extract::array_element_udf;
use datafusion_functions_nested::length::array_length_udf;
use datafusion_sql::sqlparser::ast;

/// Names that people try here but that stand under `aggregate` in a manifest.
pub(super) const AGGREGATES: [&str; 5] = ["count", "sum", "avg", "min", "max"];

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::new);

/// Looks names up for DataFusion's planner.
pub(super) struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: Arc<ConfigOptions>,
}

impl Functions {
    pub(super) fn get() -> &'static Self {
        &FUNCTIONS
    }

    fn new() -> Self {
        let mut scalar = HashMap::new();
        // No expression gives a list, so functions that make lists have no place here.
        let of_lists = [array_length_udf(), array_element_udf(), array_has_udf()];
        for function in datafusion_functions::all_default_functions().into_iter().chain(of_lists) {
            for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
                scalar.insert(name.to_owned(), Arc::clone(&function));
            }
        }
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            // `list[1]` and `struct['field']`.
            Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
        ];
        Self { scalar, planners, options: Arc::new(ConfigOptions::default()) }
    }

    pub(super) fn shared_options(&self) -> Arc<ConfigOptions> {
        Arc::clone(&self.options)
    }

    /// A function's name and its other names.
    pub(super) fn names_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let function = self.scalar.get(name);
        let aliases = function.into_iter().flat_map(|function| function.aliases());
        let own = function.map(|function| function.name());
        own.into_iter().chain(aliases.map(String::as_str))
    }

    /// The names that may be suggested for a misspelt one.
    pub(super) fn deterministic_names(&self) -> impl Iterator<Item = &str> {
        let immutable = |function: &ScalarUDF| function.signature().volatility == Volatility::Immutable;
        self.scalar.iter().filter(move |(_, function)| immutable(function)).map(|(name, _)| name.as_str())
    }
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("there are no tables here, so none named {name}")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// SQL's `timestamp` is in microseconds, as in the rest of Weir; DataFusion's own choice is nanoseconds, which end
/// in the year 2262.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let zone = match sql_type {
            ast::DataType::Timestamp(None, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) => None,
            ast::DataType::Timestamp(None, _) => Some("UTC".into()),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", DataType::Timestamp(TimeUnit::Microsecond, zone), true))))
    }
}
