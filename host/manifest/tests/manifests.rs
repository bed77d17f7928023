//! Whole manifests: what is valid passes in every profile, what is invalid says exactly what its `.err` says.
//!
//! Adding a case is adding a file: `valid/NAME.yaml`, or `invalid/NAME.yaml` and `UPDATE=1 cargo test`, then
//! reading the `.err`. A first line `# profile: NAME` chooses a profile.

use std::fs;
use std::path::{Path, PathBuf};

use weir_manifest::{Checked, Connector, KafkaOption, Manifest, ParseOptions, Severity, check};

/// Stands for every secret: it must never be seen in what is shown.
const CANARY: &str = "canary-hunter2";

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "KAFKA_BROKERS" => "localhost:9092",
        "PARTITIONS" => "4",
        "SHOP_DB_URL" => "postgres://shop:canary-hunter2@db/shop",
        // Neither a duration nor a topic: a message that quoted it would show it.
        "CANARY" => "canary-hunter2 !",
        _ => return None,
    };
    Some(value.to_owned())
}

fn options<'a>(profile: Option<&'a str>) -> ParseOptions<'a> {
    ParseOptions { profile, environment: &environment, overlays: Vec::new() }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn yaml_files(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no manifests in {name}");
    files
}

fn check_file(path: &Path) -> Checked {
    let text = fs::read_to_string(path).unwrap();
    let profile = text.lines().next().and_then(|line| line.strip_prefix("# profile: "));
    check(Path::new(path.file_name().unwrap()), &text, &options(profile))
}

#[test]
fn every_invalid_manifest_says_what_its_file_says() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut different = Vec::new();
    for path in yaml_files("tests/invalid") {
        let Checked { manifest, faults } = check_file(&path);
        let shown = faults.to_string();
        let machine = faults.to_json().to_string();
        let debug = format!("{manifest:?}");
        assert!(!faults.is_empty(), "{} has no fault", path.display());
        assert!(
            ![&shown, &machine, &debug].iter().any(|text| text.contains(CANARY)),
            "a secret shows: {shown}{machine}"
        );
        let expected = path.with_extension("err");
        if update {
            fs::write(&expected, &shown).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != shown {
            different.push(format!("{}:\n{shown}", expected.display()));
        }
    }
    assert!(different.is_empty(), "texts changed; read them, then UPDATE=1\n{}", different.join("\n"));
}

#[test]
fn every_valid_manifest_passes_in_every_profile() {
    let pipelines = fs::read_dir(folder("../../pipelines")).unwrap();
    let pipelines = pipelines.map(|entry| entry.unwrap().path().join("pipeline.yaml")).filter(|path| path.exists());
    for path in yaml_files("tests/valid").into_iter().chain(pipelines) {
        let text = fs::read_to_string(&path).unwrap();
        let unbound = Manifest::parse(&path, &text, &options(None)).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(unbound.profile().is_none() && unbound.warnings.is_empty(), "{}", unbound.faults());
        for profile in profiles_in(&text) {
            let manifest = Manifest::parse(&path, &text, &options(Some(&profile)));
            let manifest = manifest.unwrap_or_else(|faults| panic!("{faults}"));
            assert_eq!(manifest.profile(), Some(profile.as_str()));
            assert!(!format!("{manifest:?}").contains(CANARY), "a secret shows in Debug");
            for id in manifest.sources.names().chain(manifest.sinks.names()).chain([weir_manifest::DEAD_LETTERS]) {
                assert!(manifest.binding(id).is_some(), "{id} is unbound");
            }
        }
    }
}

/// Keys two spaces deep within `profiles:`.
fn profiles_in(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != "profiles:").skip(1);
    let lines = lines.take_while(|line| !line.starts_with(|first: char| first.is_ascii_lowercase()));
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    names.filter(|name| !name.starts_with([' ', '#'])).map(str::to_owned).collect()
}

fn maximal(profile: &str) -> Manifest {
    let text = fs::read_to_string(folder("tests/valid/maximal.yaml")).unwrap();
    Manifest::parse(Path::new("somewhere/maximal.yaml"), &text, &options(Some(profile))).unwrap()
}

#[test]
fn variables_and_secrets_of_the_chosen_profile_are_looked_up() {
    let manifest = maximal("kafka");
    let Connector::Kafka(kafka) = &manifest.binding("events").unwrap().connector else { panic!("not kafka") };
    assert_eq!(kafka.brokers.value, "localhost:9092,localhost:9093");
    let Some(KafkaOption::Secret(password)) = kafka.options.get("sasl.password") else { panic!("not a secret") };
    assert_eq!(password.expose(), "canary-hunter2 !");
    let Some(KafkaOption::Plain(wait)) = kafka.options.get("fetch.wait.max.ms") else { panic!("not plain") };
    assert_eq!(wait.0, "50");
    let Connector::Generate(generate) = &manifest.binding("ticks").unwrap().connector else { panic!("not generate") };
    assert_eq!(generate.partitions, 4);
    let Connector::Postgres(postgres) = &manifest.binding("sales_table").unwrap().connector else { panic!("not sql") };
    assert!(postgres.url.expose().contains(CANARY));
}

#[test]
fn without_a_name_the_only_profile_is_taken_or_the_embedded_one() {
    use weir_manifest::default_profile;
    assert_eq!(default_profile("profiles: { one: {} }").as_deref(), Some("one"));
    assert_eq!(default_profile("profiles: { one: {}, embedded: {} }").as_deref(), Some("embedded"));
    assert_eq!(default_profile("profiles: { one: {}, two: {} }"), None);
    assert_eq!(default_profile("pipeline: [").as_deref(), None);
}

#[test]
fn relative_paths_start_from_the_manifest() {
    assert_eq!(maximal("embedded").resolve("plugins/clean"), Path::new("somewhere/plugins/clean"));
}

#[test]
fn a_part_of_an_expression_has_a_place_of_its_own() {
    let manifest = maximal("embedded");
    let weir_manifest::StepKind::Where(filter) = &manifest.steps.get("paid").unwrap().kind else { panic!("no where") };
    let at = filter.value.find("price").unwrap();
    let place = filter.part(at..at + 5);
    let text = fs::read_to_string(folder("tests/valid/maximal.yaml")).unwrap();
    assert_eq!(&text[place.range()], "price");
}

#[test]
fn a_fault_leaves_the_rest_of_the_manifest_to_later_passes() {
    let Checked { manifest, faults } = check_file(&folder("tests/invalid/several_faults.yaml"));
    assert!(faults.has_errors());
    let manifest = manifest.expect("sources and steps are there");
    assert!(manifest.steps.is_empty(), "what hangs on a faulty step is left out: {:?}", manifest.steps);
    let Checked { manifest, .. } = check_file(&folder("tests/invalid/unknown_key.yaml"));
    assert_eq!(manifest.unwrap().sources.len(), 1);
}

#[test]
fn machines_get_every_fault_with_line_and_column() {
    let Checked { faults, .. } = check_file(&folder("tests/invalid/unknown_key.yaml"));
    let shown = faults.to_json();
    assert_eq!(shown[0]["line"], 7);
    assert_eq!(shown[0]["column"], 24);
    assert_eq!(shown[0]["code"], "unknown-key");
    assert_eq!(shown[0]["file"], "unknown_key.yaml");
    assert_eq!(shown[0]["severity"], "error");
}

#[test]
fn warnings_alone_stop_nothing() {
    let text = fs::read_to_string(folder("tests/valid/minimal.yaml")).unwrap();
    let text = text + "steps: { idle: { from: lines, where: line > 'a' } }\n";
    let manifest = Manifest::parse(Path::new("warned.yaml"), &text, &options(None)).unwrap();
    assert_eq!(manifest.warnings.len(), 1);
    assert_eq!(manifest.warnings[0].severity, Severity::Warning);
    assert!(manifest.faults().to_string().ends_with("1 warning\n"));
}

#[test]
fn a_manifest_over_one_mebibyte_is_refused_before_it_is_read() {
    let text = "# ".repeat(weir_manifest::MAX_FILE_BYTES / 2) + "x";
    let Checked { manifest, faults } = check(Path::new("large.yaml"), &text, &options(None));
    assert!(manifest.is_none());
    let expected = "large.yaml: 1048577 bytes; a manifest has at most 1048576\n1 fault, nothing was started\n";
    assert_eq!(faults.to_string(), expected);
}

#[test]
fn bombs_are_refused_at_once() {
    let started = std::time::Instant::now();
    let path = folder("tests/invalid/yaml_alias_bomb.yaml");
    assert!(check_file(&path).manifest.is_none());
    assert!(started.elapsed() < std::time::Duration::from_millis(500), "took {:?}", started.elapsed());
}

#[test]
fn a_manifest_full_of_faults_is_answered_in_time() {
    let started = std::time::Instant::now();
    let head = fs::read_to_string(folder("tests/valid/minimal.yaml")).unwrap();
    let keys: String = (0..24_000).map(|i| format!("key_{i}: {i}\n")).collect();
    let Checked { faults, .. } = check(Path::new("faulty.yaml"), &(head.clone() + &keys), &options(None));
    let shown = faults.to_string();
    assert!(
        shown.ends_with("... and 23950 more\n24000 faults, nothing was started\n"),
        "{}",
        &shown[shown.len() - 200..]
    );
    assert_eq!(faults.to_json().as_array().unwrap().len(), weir_manifest::MAX_FAULTS);
    let chain = |steps: u64| -> String {
        let steps = (0..steps).map(|i| format!("  s{i}: {{ from: s{}, where: line > 'a' }}\n", i + 1));
        head.clone() + "steps:\n" + &steps.collect::<String>()
    };
    let Checked { faults, .. } = check(Path::new("long.yaml"), &chain(weir_manifest::MAX_ENTRIES), &options(None));
    assert!(faults.to_string().contains("no source or step `s1000`"), "{faults}");
    let Checked { faults, .. } =
        check(Path::new("longer.yaml"), &chain(weir_manifest::MAX_ENTRIES + 1), &options(None));
    assert!(faults.to_string().contains("1001 entries; at most 1000"), "{faults}");
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "took {:?}", started.elapsed());
}

#[test]
fn an_overlay_is_joined_by_key_and_its_faults_name_its_file() {
    let base = fs::read_to_string(folder("tests/valid/minimal.yaml")).unwrap();
    let over = |text: &str| {
        let overlays = vec![(PathBuf::from("over.yaml"), text.to_owned())];
        check(Path::new("base.yaml"), &base, &ParseOptions { overlays, ..options(None) })
    };
    let Checked { manifest, faults } = over("pipeline: other\nstate: { tasks: 2 }\n");
    assert!(faults.is_empty(), "{faults}");
    let manifest = manifest.unwrap();
    assert_eq!((manifest.pipeline.value.as_str(), manifest.state.tasks, manifest.sinks.len()), ("other", Some(2), 1));
    let Checked { faults, .. } = over("sinks:\n  out: { upsert: [line] }\n");
    assert!(faults.to_string().starts_with("over.yaml:2:10\n"), "{faults}");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut state = seed | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let text = fs::read_to_string(folder("tests/valid/maximal.yaml")).unwrap();
    let pieces = [
        "{", "}", "[", "]", ":", ",", "\n", "  ", "- ", "*a", "&a ", "${", "\"", "'", "ü", "null", "!", "#", "\t", "|",
    ];
    for _ in 0..2_000 {
        let mut broken: Vec<char> = text.chars().collect();
        for _ in 0..=random(4) {
            let at = random(broken.len());
            let until = (at + random(12)).min(broken.len());
            let piece = pieces[random(pieces.len())].chars();
            broken.splice(at..until, piece);
        }
        let broken: String = broken.into_iter().collect();
        let profile = [None, Some("embedded"), Some("kafka")][random(3)];
        let Checked { manifest, faults } = check(Path::new("fuzz.yaml"), &broken, &options(profile));
        assert!(manifest.is_some() || faults.has_errors(), "nothing came of\n{broken}");
        let difference = faults.sorted().iter().any(|fault| fault.code == "structure");
        assert!(!difference, "check and structs differ: {faults}\n{broken}");
        let _ = (faults.to_string(), faults.to_json());
    }
}
