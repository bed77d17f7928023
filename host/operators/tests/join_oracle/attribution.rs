//! Native attributions, which decide on gathered pairs, and check that what they are given is gathered well.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array};
use arrow_schema::{DataType, Field};
use weir_operators::join::{LEFT, RIGHT, pair_schema};
use weir_operators::{Attribution, BisectionBudget, JoinKind, TransformStep};
use weir_stream::pairs::Groups;
use weir_stream::{
    Batch, Cardinality, FunctionFault, OutputContract, OutputRows, Selection, Transform, TransformContract,
    TransformFactory, Transformed,
};

use super::schema;

/// An attribution, which writes how many pairs the left row had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Model {
    /// The pair whose right row is the last, by time, then by id.
    Last,
    /// Every pair.
    Linear,
    /// Every pair where they are an odd number, otherwise none.
    Odd,
}

impl Model {
    /// Of a left row's pairs those that go on; given times and ids of their right rows.
    pub fn chosen(self, right: &[(i64, i64)]) -> Vec<usize> {
        let last = || (0..right.len()).max_by_key(|place| right[*place]).into_iter().collect();
        match self {
            Self::Last => last(),
            Self::Odd if right.len().is_multiple_of(2) => Vec::new(),
            Self::Linear | Self::Odd => (0..right.len()).collect(),
        }
    }

    /// The step behind the join.
    pub fn step(self, kind: JoinKind) -> TransformStep {
        let factory = Attribution::new(Native::factory(self), kind == JoinKind::Left).unwrap();
        let columns = pair_schema(kind, "r_", &schema(LEFT), &schema(RIGHT)).unwrap();
        let budget = BisectionBudget::new(Arc::new(|| 0));
        let step = TransformStep::new(factory.instantiate().unwrap(), factory.contract(), &columns, budget).unwrap();
        step.by_group(Some(schema(LEFT)))
    }
}

struct Native {
    model: Model,
    contract: TransformContract,
}

impl Native {
    fn factory(model: Model) -> Arc<dyn TransformFactory> {
        let writes = vec![Arc::new(Field::new("pairs", DataType::Int64, false))];
        let contract = TransformContract {
            name: "native".into(),
            version: "1.0.0".into(),
            reads: vec!["r_id".into()],
            cardinality: Cardinality::Filter,
            outputs: vec![OutputContract { name: "main".into(), writes, drops: Vec::new() }],
            deterministic: true,
        };
        Arc::new(Self { model, contract })
    }
}

impl TransformFactory for Native {
    fn contract(&self) -> &TransformContract {
        &self.contract
    }

    fn digest(&self) -> &Arc<str> {
        unreachable!("nobody asks")
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, FunctionFault> {
        Ok(Box::new(Native { model: self.model, contract: self.contract.clone() }))
    }
}

impl Transform for Native {
    fn process(&mut self, input: &Batch) -> Result<Transformed, FunctionFault> {
        let groups = Groups::of(input);
        let ids = input.columns.column_by_name("r_id").unwrap().as_primitive::<Int64Type>();
        let lefts = input.columns.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        let (mut rows, mut counts) = (Vec::new(), Vec::new());
        for group in groups.starts().windows(2) {
            let right: Vec<(i64, i64)> =
                (group[0]..group[1]).map(|row| (groups.right_times_us.value(row), ids.value(row))).collect();
            assert!(right.is_sorted_by_key(|(time_us, _)| *time_us), "pairs are not by the right row's time");
            assert!((group[0]..group[1]).all(|row| lefts.value(row) == lefts.value(group[0])), "a group of two rows");
            let chosen = self.model.chosen(&right);
            counts.extend(chosen.iter().map(|_| right.len() as i64));
            rows.extend(chosen.iter().map(|place| (group[0] + place) as u32));
        }
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(counts))];
        let outputs = vec![OutputRows { output: 0, selection: Selection::Rows(rows), columns }];
        Ok(Transformed { outputs, rejects: Vec::new() })
    }
}
