//! Makes arithmetic loud: DataFusion's plans wrap on integer overflow unless each operator is told not to.

use std::sync::Arc;

use arrow_schema::Schema;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Literal, NegativeExpr};

/// The same expression with checked operators. Must run before constants are folded.
pub(super) fn checked(expression: Arc<dyn PhysicalExpr>, input: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let checked = expression.transform_up(|node| {
        if let Some(binary) = node.downcast_ref::<BinaryExpr>() {
            return Ok(match binary.op() {
                Operator::Plus | Operator::Minus | Operator::Multiply => {
                    Transformed::yes(arithmetic(binary.left(), *binary.op(), binary.right()))
                }
                _ => Transformed::no(node),
            });
        }
        let Some(negative) = node.downcast_ref::<NegativeExpr>() else { return Ok(Transformed::no(node)) };
        let data_type = negative.arg().data_type(input)?;
        if !data_type.is_signed_integer() {
            return Ok(Transformed::no(node));
        }
        let zero: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::new_zero(&data_type)?));
        Ok(Transformed::yes(arithmetic(&zero, Operator::Minus, negative.arg())))
    })?;
    Ok(checked.data)
}

fn arithmetic(left: &Arc<dyn PhysicalExpr>, op: Operator, right: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(Arc::clone(left), op, Arc::clone(right)).with_fail_on_overflow(true))
}
