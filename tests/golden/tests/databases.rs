//! Rows that wait for real databases: a look-up in Cassandra, and a plugin whose tables are in Cassandra and PostgreSQL. While
//! one is away nothing is given out and nothing is lost; a stop does not wait for it for ever.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_services::{Cassandra, Postgres, Weir};

const BOUND: Duration = Duration::from_secs(120);

fn pipeline(plugin: &Path, cassandra: &str) -> String {
    format!(
        r#"
pipeline: placed
sources:
  orders:
    columns: {{ id: int64!, shop: int64, currency: utf8, amount: "decimal(8, 2)!" }}
state: {{ epoch: {{ max_rows: 3 }} }}
steps:
  named:
    from: orders
    lookup:
      in: {{ cassandra: {{ hosts: ["{cassandra}"], keyspace: shop, table: names }} }}
      columns: {{ number: int64!, name: utf8 }}
      on: {{ shop: number }}
      kind: left
      cache: {{ ttl: 1ms }}
  rated:
    from: named
    plugin:
      use: {}
      tables:
        rates: {{ in: {{ cassandra: {{ hosts: ["{cassandra}"], keyspace: shop, table: rates }} }}, columns: {{ code: utf8!, rate: "decimal(8, 4)" }}, key: [code] }}
        shops: {{ in: {{ postgres: {{ url: {{ secret: TABLES_URL }}, table: shops }} }}, columns: {{ number: int64!, city: utf8 }}, key: [number] }}
sinks:
  out: {{ from: rated, append: true }}
profiles:
  test:
    orders: {{ file: {{ path: in.jsonl }} }}
    out: {{ file: {{ path: out.jsonl }} }}
    dead_letters: {{ file: {{ path: letters.jsonl }} }}
"#,
        plugin.display()
    )
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn orders(ids: std::ops::Range<usize>) -> String {
    let shop = |id: usize| if id % 5 == 4 { "null".to_owned() } else { (10 + id % 4).to_string() };
    let currency = |id: usize| if id % 7 == 6 { "NOK" } else { "USD" };
    let order = |id| {
        format!("{{\"id\":{id},\"shop\":{},\"currency\":\"{}\",\"amount\":\"{id}.00\"}}\n", shop(id), currency(id))
    };
    ids.map(order).collect()
}

/// Id, name of the shop, its city and the amount in euros of each order that has a rate.
fn expected(ids: std::ops::Range<usize>) -> Vec<String> {
    let rated = ids.filter(|id| id % 7 != 6);
    let row = |id: usize| {
        let shop = if id % 5 == 4 { None } else { Some(id % 4) };
        let name = shop.and_then(|shop| ["\"Nord\"", "\"Süd\""].get(shop)).unwrap_or(&"null");
        let city = shop.and_then(|shop| ["\"Wien\"", "null", "\"Bonn\""].get(shop)).unwrap_or(&"null");
        format!("{id} {name} {city} \"{}.{}0\"", id / 2, 5 * (id % 2))
    };
    rated.map(row).collect()
}

fn given(path: &Path) -> Vec<String> {
    let row = |row: Value| format!("{} {} {} {}", row["id"], row["name"], row["city"], row["amount_eur"]);
    lines(path).into_iter().map(row).collect()
}

#[test]
fn rows_wait_for_databases_that_are_away_and_none_is_lost() {
    let (weir, postgres, mut cassandra) =
        (Weir::find().unwrap(), Postgres::start().unwrap(), Cassandra::start().unwrap());
    postgres.sql("CREATE TABLE shops (number bigint PRIMARY KEY, city text)").unwrap();
    postgres.sql("INSERT INTO shops VALUES (10, 'Wien'), (11, NULL), (12, 'Bonn')").unwrap();
    cassandra.keyspace("shop").unwrap();
    let statements = [
        "CREATE TABLE shop.names (number bigint PRIMARY KEY, name text)",
        "INSERT INTO shop.names (number, name) VALUES (10, 'Nord')",
        "INSERT INTO shop.names (number, name) VALUES (11, 'Süd')",
        "CREATE TABLE shop.rates (code text PRIMARY KEY, rate decimal)",
        "INSERT INTO shop.rates (code, rate) VALUES ('USD', 0.5)",
    ];
    cassandra.cql(&statements).unwrap();
    let plugin = weir.build_plugin("table-rates").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("pipeline.yaml"), pipeline(&plugin, &cassandra.address())).unwrap();
    std::fs::write(path("in.jsonl"), orders(0..20)).unwrap();
    let start = |name: &str| {
        let run = weir.run(name, folder.path(), |command| {
            command.current_dir(folder.path()).env("TABLES_URL", postgres.url());
            command.args(["pipeline.yaml", "--profile", "test", "--state", "state"]);
        });
        run.unwrap()
    };
    let mut run = start("first");
    let committed = |ids: std::ops::Range<usize>| {
        let path = path("out.jsonl");
        move |_: &Value| given(&path).len() == expected(ids.clone()).len()
    };
    run.wait_for("the first rows", BOUND, committed(0..20)).unwrap();
    cassandra.kill();
    let mut input = std::fs::OpenOptions::new().append(true).open(path("in.jsonl")).unwrap();
    std::io::Write::write_all(&mut input, orders(20..40).as_bytes()).unwrap();
    run.wait_for("the trouble", BOUND, |status| {
        status["lookups"]["named"]["trouble"].as_str().is_some_and(|trouble| trouble.ends_with("; waiting for it"))
    })
    .unwrap();
    assert_eq!(given(&path("out.jsonl")), expected(0..20));
    cassandra.resume().unwrap();
    run.wait_for("the rows behind", BOUND, |status| status["steps"]["rated"]["rows_out"] == expected(0..40).len())
        .unwrap();

    // The plugin's own table: the look-up before it is not asked for a row without a shop.
    cassandra.kill();
    std::io::Write::write_all(&mut input, orders(44..45).as_bytes()).unwrap();
    run.wait_for("the plugin's trouble", BOUND, |status| {
        status["lookups"]["rated.rates"]["trouble"].as_str().is_some_and(|trouble| trouble.contains("Cassandra"))
    })
    .unwrap();
    let stopped = weir.command().args(["stop", "--admin", &run.admin]).output().unwrap();
    let code = run.process.wait_end(BOUND).unwrap().code();
    let said = run.process.stdout();
    assert_eq!(code, Some(1), "{}{said}", String::from_utf8_lossy(&stopped.stderr));
    assert!(said.contains("is away, and the open epoch cannot be finished"), "{said}");
    assert!(!run.process.log().contains("control connection"), "the driver's own log: {}", run.process.log());
    cassandra.resume().unwrap();
    let mut run = start("second");
    run.wait_for("the row that waited", BOUND, |_| given(&path("out.jsonl")).len() == expected(0..40).len() + 1)
        .unwrap();
    let stopped = weir.command().args(["stop", "--admin", &run.admin]).output().unwrap();
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    run.process.wait_end(BOUND).unwrap();
    let all: Vec<String> = expected(0..40).into_iter().chain(expected(44..45)).collect();
    assert_eq!(given(&path("out.jsonl")), all);
    let refused: Vec<Value> =
        lines(&path("letters.jsonl")).into_iter().map(|mut letter| letter["code"].take()).collect();
    assert_eq!(refused, ["currency-unknown"; 5]);
}
