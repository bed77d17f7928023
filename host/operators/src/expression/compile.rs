//! From text to a physical expression: parse, plan, coerce, refuse what must not be, check, fold constants.

use std::sync::Arc;

use arrow_schema::{DataType, Field, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{Expr, Volatility};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion_physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::checked::checked;
use super::functions::Functions;
use super::locate::{Locator, fault, parser_error};
use super::{Expression, ExpressionError, MAX_EXPRESSION_BYTES, MAX_EXPRESSION_TOKENS, MAX_REPEAT, evaluate};

/// How often functions are replaced by what they stand for; each round opens one layer.
const MAX_UNFOLD_ROUNDS: usize = 8;

pub(super) fn compile(text: &str, input: &SchemaRef) -> Result<Expression, ExpressionError> {
    let tokens = tokenize(text)?;
    let columns: Vec<String> = input.fields().iter().map(|field| field.name().clone()).collect();
    let locator = Locator { text, tokens: &tokens, columns: &columns };
    let explain = |error: DataFusionError| locator.explain(&error);

    let schema = DFSchema::try_from(Arc::clone(input)).map(Arc::new).map_err(explain)?;
    let logical = logical(text, &tokens, &schema).map_err(explain)?;
    refuse(&logical, &locator)?;
    let logical = coerce(logical, &schema).and_then(|logical| unfold(logical, &schema)).map_err(explain)?;
    let physical = physical(&logical, &schema, input).map_err(explain)?;
    finish(text, input, physical, &locator)
}

fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, ExpressionError> {
    if text.trim().is_empty() {
        return Err(fault("the expression is empty".to_owned(), None));
    }
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(fault(format!("it has {} bytes, over the limit of {MAX_EXPRESSION_BYTES}", text.len()), None));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| parser_error(text, &error.into()))?;
    let nests = |token: &Token| {
        !matches!(token, Token::Whitespace(_) | Token::Comma | Token::Number(_, _) | Token::SingleQuotedString(_))
    };
    let words = tokens.iter().filter(|token| nests(&token.token)).count();
    if words > MAX_EXPRESSION_TOKENS {
        return Err(fault(format!("it has {words} words and signs, over the limit of {MAX_EXPRESSION_TOKENS}"), None));
    }
    Ok(tokens)
}

fn logical(text: &str, tokens: &[TokenWithSpan], schema: &DFSchema) -> Result<Expr> {
    let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens.to_vec());
    let parsed = parser.parse_expr()?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        parser.expected("the end of the expression", rest)?;
    }
    debug_assert!(!text.is_empty());
    let options = ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_enable_ident_normalization(false)
        .with_map_string_types_to_utf8view(false);
    SqlToRel::new_with_options(Functions::get(), options).sql_to_expr(parsed, schema, &mut PlannerContext::new())
}

/// Refuses functions whose value is not a function of the row, and strings of a length that data decides.
fn refuse(expression: &Expr, locator: &Locator) -> Result<(), ExpressionError> {
    let mut refused = Ok(());
    let walked = expression.apply(|node| {
        if let Expr::ScalarFunction(function) = node {
            refused = refuse_function(function, locator);
        }
        Ok(if refused.is_err() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|error| locator.explain(&error))?;
    refused
}

fn refuse_function(function: &ScalarFunction, locator: &Locator) -> Result<(), ExpressionError> {
    let name = function.func.name();
    let aliases = function.func.aliases().iter().map(String::as_str);
    let span = [name].into_iter().chain(aliases).find_map(|name| locator.word(name));
    if function.func.signature().volatility != Volatility::Immutable {
        let message = format!("`{name}` gives another value each time; an expression must depend on its row alone");
        return Err(fault(message, span));
    }
    if matches!(name, "repeat" | "lpad" | "rpad") {
        let length = match function.args.get(1) {
            Some(Expr::Literal(ScalarValue::Int64(Some(length)), _)) => *length,
            _ => return Err(fault(format!("the length given to `{name}` must be a number, not computed"), span)),
        };
        if length > MAX_REPEAT {
            return Err(fault(
                format!("the length {length} given to `{name}` is over the limit of {MAX_REPEAT}"),
                span,
            ));
        }
    }
    Ok(())
}

fn coerce(expression: Expr, schema: &DFSchemaRef) -> Result<Expr> {
    ExprSimplifier::new(simplify_context(schema)).coerce(expression, schema)
}

fn simplify_context(schema: &DFSchemaRef) -> SimplifyContext {
    let options = Functions::get().shared_options();
    SimplifyContext::builder().with_schema(Arc::clone(schema)).with_config_options(options).build()
}

/// Replaces functions that only stand for other expressions (`coalesce` is a `case`). DataFusion's simplifier would
/// do it too, but it folds constants before arithmetic is checked, and so would wrap.
fn unfold(mut expression: Expr, schema: &DFSchemaRef) -> Result<Expr> {
    let context = simplify_context(schema);
    for _ in 0..MAX_UNFOLD_ROUNDS {
        let unfolded = expression.transform_up(|node| {
            let Expr::ScalarFunction(ScalarFunction { func, args }) = node else { return Ok(Transformed::no(node)) };
            Ok(match func.simplify(args, &context)? {
                ExprSimplifyResult::Simplified(simpler) => Transformed::yes(simpler),
                ExprSimplifyResult::Original(args) => {
                    Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
                }
            })
        })?;
        if !unfolded.transformed {
            return Ok(unfolded.data);
        }
        expression = coerce(unfolded.data, schema)?;
    }
    Ok(expression)
}

fn physical(expression: &Expr, schema: &DFSchema, input: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
    let mut properties = ExecutionProps::new();
    properties.config_options = Some(Functions::get().shared_options());
    let physical = create_physical_expr(expression, schema, &properties, &PhysicalPlanningContext::default())?;
    let physical = checked(physical, input)?;
    let data_type = physical.data_type(input)?;
    let physical = match plain_type(&data_type) {
        Some(plain) => Arc::new(CastExpr::new(physical, plain, None)),
        None => physical,
    };
    PhysicalExprSimplifier::new(input).simplify(physical)
}

/// The type that stands for `data_type` in columns, if it is another one.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => Some(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => Some(DataType::Binary),
        DataType::Dictionary(_, value) => Some(plain_type(value).unwrap_or_else(|| value.as_ref().clone())),
        _ => None,
    }
}

fn finish(
    text: &str,
    input: &SchemaRef,
    physical: Arc<dyn PhysicalExpr>,
    locator: &Locator,
) -> Result<Expression, ExpressionError> {
    let explain = |error: DataFusionError| locator.explain(&error);
    let data_type = physical.data_type(input).map_err(explain)?;
    let whole = Some(0..text.len());
    if data_type.is_null() {
        return Err(fault("this is always null and has no type; write cast(null as int)".to_owned(), whole));
    }
    if !is_column_type(&data_type) {
        let name = type_name(&data_type);
        let message = match data_type {
            DataType::List(_) | DataType::Struct(_) => {
                format!("this gives {name}, which no expression may; take a part of it, or `flatten` it before")
            }
            _ => format!("this gives {name}, which no column can hold; cast it"),
        };
        return Err(fault(message, whole));
    }
    let nullable = physical.nullable(input).map_err(explain)?;
    let column = physical.downcast_ref::<Column>().map(Column::index);
    let is_plain = column.is_some() || physical.is::<Literal>();
    let expression = Expression {
        text: text.into(),
        input: Arc::clone(input),
        field: Arc::new(Field::new(text, data_type.clone(), nullable)),
        column,
        check_digits: matches!(data_type, DataType::Decimal128(_, _)) && !is_plain,
        physical,
    };
    evaluate::refuse_constant_error(&expression)?;
    Ok(expression)
}

/// Whether Weir has columns of this type.
pub(crate) fn is_column_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(_, scale) => *scale >= 0,
        DataType::Float16 => false,
        DataType::Boolean | DataType::Utf8 | DataType::Binary | DataType::Date32 | DataType::Timestamp(_, _) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The type as manifests write it.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "bool".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Timestamp(unit, zone) => match zone {
            Some(zone) => format!("timestamp({unit}, {zone})"),
            None => format!("timestamp({unit})"),
        },
        other => other.to_string().to_lowercase(),
    }
}
