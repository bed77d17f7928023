//! The derives and the attribute of `weir-sdk`.
//!
//! Without syn and quote: they take longer to build than everything else of a plugin together. What is read here is
//! little (structs with named fields, one function's signature) and [`item`] reads just that.

use proc_macro::TokenStream;

mod aggregate;
mod attribute;
mod attribution;
mod columns;
mod config;
mod enrich;
mod input;
mod item;
mod lookup_key;
mod output;
mod process;
mod state;
mod template;
mod timer;
mod transform;

/// A place and what is wrong there: becomes a `compile_error!`.
type Result<T> = std::result::Result<T, item::Error>;

fn or_error(result: Result<TokenStream>) -> TokenStream {
    result.unwrap_or_else(item::Error::into_tokens)
}

/// The columns that a function reads: a struct with a field per column, of the column's name and type.
/// `#[column("name")]` on a field names a column that is no Rust name.
#[proc_macro_derive(Input, attributes(column))]
pub fn derive_input(tokens: TokenStream) -> TokenStream {
    or_error(input::derive(tokens))
}

/// The columns that a function writes: a struct with a field per column; or an enum with such a struct per variant,
/// for a plugin with several named outputs (`LargeOrders(..)` goes to `large-orders`).
///
/// On a field: `#[column("name")]`, `#[decimal(12, 2)]`, `#[timestamp(ms)]`. On the struct:
/// `#[output(drop("a", "b"))]` for input columns that do not go on, `#[output(keyed)]` for rows of a key.
#[proc_macro_derive(Output, attributes(column, decimal, timestamp, output))]
pub fn derive_output(tokens: TokenStream) -> TokenStream {
    or_error(output::derive(tokens))
}

/// The columns that a `#[transform(columns)]` function reads: a struct with a `ColumnView<'a, T>` per column.
/// `#[column("name")]` as for rows.
#[proc_macro_derive(InputColumns, attributes(column))]
pub fn derive_input_columns(tokens: TokenStream) -> TokenStream {
    or_error(columns::derive_input(tokens))
}

/// The columns that a `#[transform(columns)]` function writes: a struct with a `ColumnBuilder<T>` per column. Attributes
/// are those of rows.
#[proc_macro_derive(OutputColumns, attributes(column, decimal, timestamp, output))]
pub fn derive_output_columns(tokens: TokenStream) -> TokenStream {
    or_error(columns::derive_output(tokens))
}

/// What a keyed plugin keeps for each key: a struct whose fields are `Value<T>`, `List<T>` and `Map<K, V>`.
/// `#[state(ttl = "1d")]` on a field that is forgotten that long after the key's newest row; `#[decimal(12, 2)]`,
/// `#[timestamp(ms)]` as for outputs.
#[proc_macro_derive(State, attributes(state, decimal, timestamp))]
pub fn derive_state(tokens: TokenStream) -> TokenStream {
    or_error(state::derive(tokens))
}

/// The kinds of timers of a keyed plugin: an enum without values. `#[timer(processing)]` on a variant that waits for
/// the host's clock.
#[proc_macro_derive(Timer, attributes(timer))]
pub fn derive_timer(tokens: TokenStream) -> TokenStream {
    or_error(timer::derive(tokens))
}

/// Makes an `impl Process for ..` the plugin. `#[process(name = "..", version = "..")]` for a plugin that is not called
/// as its crate.
#[proc_macro_attribute]
pub fn process(arguments: TokenStream, implementation: TokenStream) -> TokenStream {
    or_error(process::expand(arguments, implementation))
}

/// Makes an `impl Aggregate for ..` the plugin. What it can do shows from its functions: with `merge` it aggregates in
/// windows that overlap and in sessions, with `retract` over tables. `name = ".."` and `version = ".."` as for `transform`.
#[proc_macro_attribute]
pub fn aggregate(arguments: TokenStream, implementation: TokenStream) -> TokenStream {
    or_error(aggregate::expand(arguments, implementation))
}

/// Makes a function that decides on all pairs of a left row the plugin: `fn last(pairs: Vec<Pair<Touch>>, rules: &Rules) ->
/// Result<Vec<Option<Credit>>, Reject>`, the configuration being optional. `name = ".."` and `version = ".."` as for
/// `transform`.
#[proc_macro_attribute]
pub fn attribute(arguments: TokenStream, function: TokenStream) -> TokenStream {
    or_error(attribution::expand(arguments, function))
}

/// Makes a function that takes a row and the answers to what it asked the plugin: `fn in_eur(payment: Payment, answers:
/// Answers, rates: &Rates) -> Result<InEur, Reject>`, the configuration being optional.
///
/// `#[enrich(asks = ask)]` names the function that says what a row asks: `fn ask(payment: &Payment, rates: &Rates) ->
/// Request`, or a key of a table; it takes the configuration if the other does. `name = ".."` and `version = ".."` as for
/// `transform`.
#[proc_macro_attribute]
pub fn enrich(arguments: TokenStream, function: TokenStream) -> TokenStream {
    or_error(enrich::expand(arguments, function))
}

/// What a table is asked with: a struct with a field for each column of the table's key. `#[lookup(table = "rates", row =
/// Rate)]` names the table as the step's `tables` do, and the struct with `#[derive(Input)]` that its rows are read as.
#[proc_macro_derive(LookupKey, attributes(column, lookup))]
pub fn derive_lookup_key(tokens: TokenStream) -> TokenStream {
    or_error(lookup_key::derive(tokens))
}

/// A plugin's configuration: a struct with a field per key. `#[config(default)]` or `#[config(default = value)]` on
/// a field that may be left out; doc comments become descriptions in the JSON Schema.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(tokens: TokenStream) -> TokenStream {
    or_error(config::derive(tokens))
}

/// Makes a function the plugin: `fn clean(event: Event, rules: &Rules) -> Result<Option<Clean>, Reject>`, the
/// configuration being optional. Its name also becomes a type, for `weir_sdk::testing::Instance::<clean>`.
///
/// `#[transform(columns)]` is for a function over whole columns: `fn judge(readings: Readings, judged: &mut Judged, rows:
/// &mut Rows, rules: &Rules)`; `#[transform(name = "..", version = "..")]` for a plugin that is not called as its crate.
#[proc_macro_attribute]
pub fn transform(arguments: TokenStream, function: TokenStream) -> TokenStream {
    or_error(transform::expand(arguments, function))
}
