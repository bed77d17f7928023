use weir_sdk::prelude::*;

#[derive(LookupKey)]
struct Unnamed {
    id: i64,
}

#[derive(LookupKey)]
#[lookup(table = "rates")]
struct Rowless {
    id: i64,
}
