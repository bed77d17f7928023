use weir_sdk::prelude::*;

pub fn refuse() -> Reject {
    reject!("Kind Missing")
}
