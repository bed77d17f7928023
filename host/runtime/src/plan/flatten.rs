//! `flatten`: what kind of column it takes apart shows from its type.

use arrow_schema::DataType;
use weir_manifest::{Fault, FlattenStep, nearest, type_text};
use weir_operators::{Flatten, Operator};

use super::{Output, PlannedKind, PlannedStateless, Planner, Side};

struct PlannedFlatten(Flatten);

impl PlannedStateless for PlannedFlatten {
    fn operator(&self) -> Result<Box<dyn Operator>, String> {
        Ok(Box::new(self.0.clone()))
    }
}

impl Planner<'_> {
    pub(super) fn flatten(&mut self, step: &FlattenStep, input: &Side) -> Option<(Vec<Output>, PlannedKind)> {
        let planned = flatten(step, input).map_err(|fault| self.fault(fault)).ok()?;
        let output = Output::main(planned.output_schema(), input.changes.clone());
        Some((vec![output], PlannedKind::Stateless(Box::new(PlannedFlatten(planned)))))
    }
}

fn flatten(step: &FlattenStep, input: &Side) -> Result<Flatten, Fault> {
    let (schema, name) = (&input.schema, &step.column);
    let Ok(column) = schema.index_of(name) else {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let message = format!("no column `{}` after `{}`{hint}", name.value, input.from.value);
        return Err(Fault::new(name.span, "unknown-column", message));
    };
    let of_lists = [
        ("as", step.item.as_ref().map(|item| item.span)),
        ("keep_empty", step.keep_empty.as_ref().map(|keep| keep.span)),
    ];
    let of_structs = [("prefix", step.prefix.as_ref().map(|prefix| prefix.span))];
    let misplaced = |keys: &[(&str, Option<weir_manifest::Span>)], is: &str| {
        let key = keys.iter().find_map(|(key, place)| Some((*key, (*place)?)));
        key.map_or(Ok(()), |(key, place)| {
            let message = format!("`{}` is a {is}, which takes no `{key}`", name.value);
            Err(Fault::new(place, "wrong-key", message))
        })
    };
    let (made, way_out) = match schema.field(column).data_type() {
        DataType::List(_) => {
            misplaced(&of_structs, "list")?;
            let item = step.item.as_ref().unwrap_or(name);
            let keep_empty = step.keep_empty.as_ref().is_some_and(|keep| keep.value);
            (Flatten::items(schema, column, item, keep_empty), "give the item's column another name: `as: item`")
        }
        DataType::Struct(_) => {
            misplaced(&of_lists, "struct")?;
            let prefix = step.prefix.as_ref().map_or("", |prefix| prefix.value.as_str());
            (Flatten::fields(schema, column, prefix), "give the fields a prefix of their own: `prefix: at_`")
        }
        other => {
            let message = format!("`{}` is {}; lists and structs can be taken apart", name.value, type_text(other));
            return Err(Fault::new(name.span, "flatten", message));
        }
    };
    made.map_err(|message| Fault::new(name.span, "flatten", message).next(way_out))
}
