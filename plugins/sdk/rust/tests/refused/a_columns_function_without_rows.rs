use weir_sdk::prelude::*;

#[derive(InputColumns)]
struct Number<'a> {
    n: ColumnView<'a, i64>,
}

#[derive(OutputColumns)]
struct Twice {
    twice: ColumnBuilder<i64>,
}

#[transform(columns)]
fn twice(number: Number, twice: &mut Twice) {
    twice.twice.extend(number.n.iter().map(|n| n * 2));
}
