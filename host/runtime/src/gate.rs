//! The gate that every plugin passes before it may touch a row: component, world, contract, columns, self-test.
//!
//! One place for start and swap alike, away from the data path. What it lets through is ready to run: compiled,
//! instantiated, tried on a stored sample.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use serde::Serialize;
use weir_operators::{Assigner, Attribution};
use weir_sandbox::{
    ContractFault, Grants, Limits, PluginComponent, SandboxEngine, SandboxError, WasmAggregateFactory,
    WasmKeyedFactory, WasmTransformFactory,
};
use weir_stream::{AggregateContract, Batch, Transform, Transformed};

use crate::barrier::SwapOrder;
use crate::function::{Contract, Function, Instance};
use crate::lookup::StepTables;
use crate::reject_watch::Judged;
use crate::task::plugin::PluginSite;

/// How long a self-test may take at most, over all its calls.
const SELF_TEST_BUDGET: Duration = Duration::from_secs(5);

/// What the gate knows of one plugin step.
pub struct GateSite {
    pub site: PluginSite,
    /// JSON, as the manifest gives it.
    pub config: String,
    pub limits: Limits,
    /// Names of what stands behind, to say who needs a column.
    pub consumers: Vec<String>,
    /// What the plugin may ask, of the world `enrich`.
    pub grants: Grants,
    /// What its tables need beside them.
    pub tables: StepTables,
    pub role: PluginRole,
    /// Of the version that the pipeline was planned with: what its state and timers are.
    pub planned: Option<Contract>,
}

/// What a plugin is for, and what the gate needs to know for that.
#[derive(Debug, Clone)]
pub enum PluginRole {
    /// A step without state.
    Rows,
    /// Says which windows a row is in, at most so many.
    Windows { most: usize },
    /// A step with state by key: the key's columns.
    Keyed { key: SchemaRef },
    /// One of a step's aggregates.
    Aggregate {
        /// What its result is called.
        column: String,
        /// Why accumulators will have to be merged, if they will.
        merges: Option<&'static str>,
        /// Whether rows will be taken back.
        retracts: bool,
    },
    /// Decides which pairs of a join go on.
    Pairs(PairColumns),
}

/// The columns of a join's pairs, for a plugin that decides on them.
#[derive(Debug, Clone)]
pub struct PairColumns {
    /// Of a pair, both of its rows being there.
    pub pair: SchemaRef,
    /// Its first ones.
    pub left: SchemaRef,
    /// Whether left rows of which no pair goes on come out by themselves.
    pub keeps_left: bool,
}

/// Why a plugin was not let through; the running version goes on untouched.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error(transparent)]
    Component(#[from] SandboxError),
    #[error("plugin does not fit step `{step}`")]
    Contract { step: String, faults: Vec<String> },
    #[error("self-test failed on step `{step}`: the plugin {fault}")]
    SelfTest { step: String, fault: weir_stream::FunctionFault },
    #[error("self-test failed on step `{step}`: on its newest rows the plugin {reason}")]
    Rejects { step: String, reason: String },
    #[error("no step `{step}` with a plugin; the pipeline has {}", list(.has))]
    NoStep { step: String, has: Vec<String> },
}

impl GateError {
    /// Everything that does not fit, a line each.
    pub fn faults(&self) -> &[String] {
        match self {
            Self::Contract { faults, .. } => faults,
            _ => &[],
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What a self-test saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct SelfTest {
    pub rows: usize,
    pub written: usize,
    pub rejected: usize,
    /// By the running version, of the same rows; absent when it failed on them.
    pub running_rejected: Option<usize>,
}

/// A plugin that passed.
pub struct Passed {
    pub component: Arc<PluginComponent>,
    pub function: Function,
    pub self_test: Option<SelfTest>,
    /// One instance, tried already where there was something to try it on.
    pub instance: Instance,
}

/// Loads a component from a file.
///
/// # Errors
/// See [`SandboxError`].
pub fn load(engine: &SandboxEngine, path: &Path, limits: &Limits) -> Result<Arc<PluginComponent>, SandboxError> {
    PluginComponent::load_file(engine, path, limits)
}

impl GateSite {
    /// Describes the plugin for this step's configuration, input and key.
    ///
    /// # Errors
    /// [`GateError::Contract`] with everything that does not fit.
    pub fn function(&self, component: &Arc<PluginComponent>) -> Result<Function, GateError> {
        let input = Arc::clone(&self.site.input);
        let (step, limits, config) = (&self.site.step, &self.limits, &self.config);
        let function = match &self.role {
            PluginRole::Rows | PluginRole::Windows { .. } => {
                WasmTransformFactory::granted(component, config, input, limits, step, None, &self.grants)
                    .map(|factory| Function::Rows(Arc::new(factory)))
            }
            PluginRole::Keyed { key } => {
                WasmKeyedFactory::new(component, config, input, key.fields(), limits, step, None)
                    .map(|factory| Function::Keyed(Arc::new(factory)))
            }
            PluginRole::Pairs(columns) => {
                let pair = Arc::clone(&columns.pair);
                WasmTransformFactory::attributing(component, config, pair, limits, step, None, &self.grants)
                    .map(|factory| Function::Rows(Arc::new(factory)))
            }
            PluginRole::Aggregate { .. } => WasmAggregateFactory::new(component, config, &input, limits, step, None)
                .map(|factory| Function::Aggregate(Arc::new(factory))),
        };
        let function =
            function.map_err(|faults| self.contract(faults.iter().map(ContractFault::to_string).collect()))?;
        match (function, &self.role) {
            (Function::Rows(function), PluginRole::Windows { most }) => {
                let assigner = Assigner::new(function, *most).map_err(|faults| self.contract(faults))?;
                Ok(Function::Rows(Arc::new(assigner)))
            }
            (Function::Rows(function), PluginRole::Pairs(columns)) => {
                let attribution =
                    Attribution::new(function, columns.keeps_left).map_err(|faults| self.contract(faults))?;
                Ok(Function::Rows(Arc::new(attribution)))
            }
            (Function::Aggregate(function), PluginRole::Aggregate { merges, retracts, .. }) => {
                let faults = lacks(function.contract(), *merges, *retracts);
                if faults.is_empty() { Ok(Function::Aggregate(function)) } else { Err(self.contract(faults)) }
            }
            (function, _) => Ok(function),
        }
    }

    /// As [`GateSite::function`], and the steps behind get the columns that they were planned for, and the state that
    /// is there is what the plugin keeps.
    ///
    /// # Errors
    /// As [`GateSite::function`].
    pub fn fitting(&self, component: &Arc<PluginComponent>) -> Result<Function, GateError> {
        let function = self.function(component)?;
        let contract = function.contract();
        let mut faults = self.column_faults(&contract);
        faults.extend(self.planned.iter().flat_map(|planned| planned.state_differences(&contract)));
        if faults.is_empty() { Ok(function) } else { Err(self.contract(faults)) }
    }

    /// The whole gate for a version that is to replace the running one.
    ///
    /// # Errors
    /// See [`GateError`].
    pub fn pass(&self, component: &Arc<PluginComponent>) -> Result<Passed, GateError> {
        let function = self.fitting(component)?;
        let self_test = |fault| GateError::SelfTest { step: self.site.step.to_string(), fault };
        let mut instance = function.instantiate().map_err(self_test)?;
        let tested = match &mut instance {
            Instance::Rows(instance) => self.self_test(instance.as_mut())?,
            // What a keyed function answers depends on the state that it would find.
            Instance::Keyed(_) | Instance::Aggregate(_) => None,
        };
        Ok(Passed { component: Arc::clone(component), function, self_test: tested, instance })
    }

    /// Runs the stored sample through an instance, and through the running version to compare. No sample, no test.
    fn self_test(&self, instance: &mut dyn Transform) -> Result<Option<SelfTest>, GateError> {
        let (step, sample) = (self.site.step.to_string(), self.site.sample.get());
        let tested = tried_on(&sample, instance).map_err(|fault| GateError::SelfTest { step: step.clone(), fault })?;
        if tested.rows == 0 {
            return Ok(None);
        }
        let running = self.site.sample.running().and_then(|running| running.instantiate().ok());
        let running = running.and_then(|mut running| tried_on(&sample, running.as_mut()).ok());
        let judged = |test: &SelfTest| Judged { rows: test.rows as u64, rejected: test.rejected as u64 };
        let before = running.as_ref().map(judged);
        match before.and_then(|before| self.site.reject_limit.burst(before, judged(&tested))) {
            Some(reason) => Err(GateError::Rejects { step, reason }),
            None => Ok(Some(SelfTest { running_rejected: running.map(|running| running.rejected), ..tested })),
        }
    }

    /// What the steps behind would miss, per output and column.
    fn column_faults(&self, contract: &Contract) -> Vec<String> {
        let needs = self.consumers.first().map_or("the pipeline".to_owned(), |consumer| format!("`{consumer}`"));
        let has: Vec<&str> = contract.outputs().iter().map(|output| output.name.as_str()).collect();
        let wants = &self.site.output_names;
        if has != *wants {
            return vec![format!(
                "the plugin's outputs are {}; the pipeline's are {}",
                has.join(", "),
                wants.join(", ")
            )];
        }
        let gives = self.output_schemas(contract);
        self.site.outputs.iter().zip(&gives).flat_map(|(wants, gives)| differences(wants, gives, &needs)).collect()
    }

    /// By number of the output; of an aggregate its only column.
    pub fn output_schemas(&self, contract: &Contract) -> Vec<SchemaRef> {
        match (&self.role, contract) {
            (PluginRole::Aggregate { column, .. }, Contract::Aggregate(contract)) => {
                let gives = contract.gives.as_ref().clone().with_name(column);
                vec![Arc::new(Schema::new(vec![gives]))]
            }
            (PluginRole::Keyed { key }, contract) => contract.output_schemas(&self.site.input, key),
            (_, contract) => contract.output_schemas(&self.site.input, &Arc::new(Schema::empty())),
        }
    }

    fn contract(&self, faults: Vec<String>) -> GateError {
        GateError::Contract { step: self.site.step.to_string(), faults }
    }
}

/// What an aggregate cannot do that the step will ask of it.
fn lacks(contract: &AggregateContract, merges: Option<&str>, retracts: bool) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(why) = merges.filter(|_| !contract.merges) {
        faults.push(format!("{why}, and the plugin cannot merge accumulators; give it `merge`"));
    }
    if retracts && !contract.retracts {
        let why = "rows that come into this step are taken back when they change";
        faults.push(format!("{why}, and the plugin cannot take rows back; give it `retract`"));
    }
    faults
}

fn differences(wants: &SchemaRef, gives: &Schema, needs: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for field in wants.fields() {
        match gives.field_with_name(field.name()) {
            Err(_) => faults.push(format!(
                "column `{}`: {needs} needs {}, this plugin does not give it",
                field.name(),
                type_name(field.data_type())
            )),
            Ok(given) if given.data_type() != field.data_type() => {
                let (place, wanted, written) = difference(field.name().clone(), field.data_type(), given.data_type());
                faults.push(format!("column `{place}`: {needs} needs {wanted}, this plugin writes {written}"));
            }
            Ok(given) if given.is_nullable() && !field.is_nullable() => {
                faults
                    .push(format!("column `{}`: {needs} needs it not null, this plugin may write null", field.name()));
            }
            Ok(_) => {}
        }
    }
    let new = gives.fields().iter().filter(|field| wants.index_of(field.name()).is_err());
    faults.extend(new.map(|field| {
        format!("column `{}`: new; columns of a running pipeline stay, restart it to add one", field.name())
    }));
    faults
}

/// Where two types differ, and how, as far inside as both are built alike.
fn difference(place: String, wants: &DataType, gives: &DataType) -> (String, String, String) {
    let differ = |(wants, gives): &(&FieldRef, &FieldRef)| wants != gives;
    let inner = match (wants, gives) {
        (DataType::List(wants), DataType::List(gives)) => Some((wants, gives)),
        (DataType::Struct(wants), DataType::Struct(gives)) => {
            let names = |fields: &Fields| fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
            let alike = names(wants) == names(gives);
            wants.iter().zip(gives).filter(|_| alike).find(differ)
        }
        _ => None,
    };
    match inner {
        None => (place, type_name(wants), type_name(gives)),
        Some((wants, gives)) if wants.data_type() == gives.data_type() => {
            let said = |field: &Field| {
                format!("{}{}", type_name(field.data_type()), if field.is_nullable() { "" } else { "!" })
            };
            (format!("{place}.{}", wants.name()), said(wants), said(gives))
        }
        Some((wants, gives)) => difference(format!("{place}.{}", wants.name()), wants.data_type(), gives.data_type()),
    }
}

/// A type as manifests write it.
pub fn type_name(data_type: &DataType) -> String {
    weir_manifest::type_text(data_type)
}

/// Runs a sample through an instance, as far as time allows.
fn tried_on(sample: &[Batch], instance: &mut dyn Transform) -> Result<SelfTest, weir_stream::FunctionFault> {
    let started = Instant::now();
    let mut test = SelfTest::default();
    for batch in sample {
        if started.elapsed() > SELF_TEST_BUDGET {
            break;
        }
        let Transformed { outputs, rejects } = instance.process(batch)?;
        test.rows += batch.rows();
        test.rejected += rejects.len();
        let written = outputs.iter().map(|output| match &output.selection {
            weir_stream::Selection::All => batch.rows(),
            weir_stream::Selection::Rows(selected) => selected.len(),
        });
        test.written += written.sum::<usize>();
    }
    Ok(test)
}

impl Passed {
    /// The order that puts this version into `tasks` tasks, each with an instance made ahead.
    ///
    /// # Errors
    /// When another instance cannot be made.
    pub fn into_order(self, step: Arc<str>, tasks: usize) -> Result<SwapOrder, weir_stream::FunctionFault> {
        let mut instances = vec![self.instance];
        while instances.len() < tasks {
            instances.push(self.function.instantiate()?);
        }
        Ok(SwapOrder::new(step, self.function, instances))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_structs_of_another_type_are_told_with_the_place_inside() {
        let told = |wants: &str, gives: &str| {
            let schema = |text: &str| {
                let column: weir_manifest::ColumnType = text.parse().unwrap();
                Arc::new(Schema::new(vec![Field::new("lines", column.data_type, column.nullable)]))
            };
            differences(&schema(wants), &schema(gives), "`out`").join("|")
        };
        let wants = "list(struct(sku utf8!, price decimal(12, 2)))";
        assert_eq!(told(wants, wants), "");
        assert_eq!(
            told(wants, "list(struct(sku utf8!, price utf8))"),
            "column `lines.item.price`: `out` needs decimal(12, 2), this plugin writes utf8"
        );
        assert_eq!(
            told(wants, "list(struct(sku utf8, price decimal(12, 2)))"),
            "column `lines.item.sku`: `out` needs utf8!, this plugin writes utf8"
        );
        assert_eq!(
            told(wants, "list(struct(sku utf8!, cost decimal(12, 2)))"),
            "column `lines.item`: `out` needs struct(sku utf8!, price decimal(12, 2)), this plugin writes \
             struct(sku utf8!, cost decimal(12, 2))"
        );
        assert_eq!(told(wants, "utf8"), format!("column `lines`: `out` needs {wants}, this plugin writes utf8"));
    }

    #[test]
    fn an_aggregate_lacks_what_its_step_will_ask_of_it_and_nothing_else() {
        let contract = |merges, retracts| AggregateContract {
            name: "native".into(),
            version: "1.0.0".into(),
            reads: Vec::new(),
            state_version: 1,
            state: Vec::new(),
            gives: Arc::new(Field::new("result", DataType::Int64, false)),
            merges,
            retracts,
            deterministic: true,
        };
        let merges = "sessions join when a row falls between them";
        assert_eq!(lacks(&contract(false, false), None, false), Vec::<String>::new());
        assert_eq!(lacks(&contract(true, true), Some(merges), true), Vec::<String>::new());
        assert_eq!(
            lacks(&contract(false, false), Some(merges), true),
            [
                "sessions join when a row falls between them, and the plugin cannot merge accumulators; give it `merge`",
                "rows that come into this step are taken back when they change, and the plugin cannot take rows back; \
                 give it `retract`",
            ]
        );
    }
}
