//! One tree laid over another: maps are joined by key, everything else is replaced. Places stay with their files.

use super::node::{Node, Value};

pub(crate) fn lay_over(base: &mut Node, over: Node) {
    let Node { value: Value::Map(over), span, inset, origin } = over else {
        *base = over;
        return;
    };
    let Value::Map(pairs) = &mut base.value else {
        *base = Node { value: Value::Map(over), span, inset, origin };
        return;
    };
    let below = pairs.len();
    let mut laid = vec![false; below];
    for (key, value) in over {
        let name = key.as_text();
        let found = pairs[..below].iter().position(|(below, _)| name.is_some() && below.as_text() == name);
        match found {
            // A key that the overlay holds twice stays twice, to be reported.
            Some(at) if !laid[at] => {
                laid[at] = true;
                lay_over(&mut pairs[at].1, value);
            }
            _ => pairs.push((key, value)),
        }
    }
}
