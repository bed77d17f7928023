//! Each rule, seen to find what it is for.

use weir_tidy::*;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.into(), text: text.into() }
}

#[test]
fn comments_and_literals_are_blank_and_nothing_moves() {
    let text = "a(\"b // c\"); // d\n'\"' r#\"e\"f\"# 'x '\\'' /* g\n */ h";
    let blank = blanked(text);
    assert_eq!(blank.split_whitespace().collect::<String>(), "a();'xh");
    assert_eq!(blank.chars().count(), text.chars().count());
    assert_eq!(blank.lines().count(), text.lines().count());
}

#[test]
fn a_file_without_documentation_is_found() {
    assert_eq!(module_doc_faults(&file("host/a.rs", "use b;\n")).len(), 1);
    assert_eq!(module_doc_faults(&file("host/a.rs", "//! For c.\n")).len(), 0);
}

#[test]
fn a_long_function_and_a_long_file_are_found() {
    let function = |lines: usize| {
        format!("    fn long(\n        &self,\n    ) {{\n{}    }}\n", "        x();\n".repeat(lines - 4))
    };
    let code = |text: &str| format!("impl A {{\n    fn short() {{}}\n    fn none(&self);\n{text}}}\n");
    assert_eq!(length_faults(&file("host/a.rs", &code(&function(MAX_FUNCTION_LINES)))).len(), 0);
    let faults = length_faults(&file("host/a.rs", &code(&function(MAX_FUNCTION_LINES + 1))));
    assert_eq!(faults, ["host/a.rs:4: 71 lines, more than 70"]);
    assert_eq!(length_faults(&file("host/a.rs", &"x\n".repeat(MAX_FILE_LINES + 1))).len(), 1);
    assert_eq!(length_faults(&file("host/x/tests/a.rs", &"x\n".repeat(MAX_FILE_LINES + 1))).len(), 0);
}

#[test]
fn an_unwrap_outside_tests_is_found() {
    let text =
        "//! `.unwrap()` in words\nfn f() { g().unwrap() }\n#[cfg(test)]\nmod tests {\n fn h() { i().unwrap() }\n}\n";
    assert_eq!(call_faults(&file("host/a.rs", text)).len(), 1);
    assert_eq!(call_faults(&file("host/a/tests/b.rs", text)).len(), 0);
    assert_eq!(call_faults(&file("host/a.rs", "fn f() { g().expect(\"\") }")).len(), 1);
    assert_eq!(call_faults(&file("host/a.rs", "fn f() { g().expect(\"one row\") }")).len(), 0);
}

#[test]
fn what_is_left_half_done_is_found() {
    let marker = ["TO", "DO"].concat();
    assert_eq!(marker_faults(&file("a.md", &format!("x\n{marker}: y\n"))).len(), 1);
    assert_eq!(marker_faults(&file("a.md", "to do\n")).len(), 0);
}

#[test]
fn a_path_of_one_machine_is_found() {
    assert_eq!(path_faults(&file("a.md", "see /home/me/x")).len(), 1);
    assert_eq!(path_faults(&file("a.md", "see https://example.com/home/x and framework/work/")).len(), 0);
}

#[test]
fn an_arrow_up_and_a_library_outside_its_door_are_found() {
    let manifest =
        "[dependencies]\nweir-runtime.workspace = true\ntokio = \"1\"\n[dev-dependencies]\nwasmtime = \"1\"\n";
    assert_eq!(dependencies(manifest), ["weir-runtime", "tokio"]);
    assert_eq!(crate_faults("operators", manifest).len(), 2);
    assert_eq!(crate_faults("cli", manifest).len(), 0);
    assert_eq!(crate_faults("new", "").len(), 1);
}

#[test]
fn a_licence_counts_by_its_whole_expression() {
    let list = allowed("[licenses]\nallow = [\n \"MIT\",\n \"A WITH x\",\n]\n[bans]\nskip = [\"GPL\"]\n");
    assert_eq!(list, ["MIT", "A WITH x"]);
    for fine in ["MIT", "GPL OR MIT", "GPL/MIT", "MIT AND (GPL OR MIT)", "A WITH x", "MIT OR GPL AND GPL"] {
        assert!(is_allowed(fine, &list), "{fine}");
    }
    for wrong in ["", "GPL", "MIT AND GPL", "A", "(MIT OR GPL) AND GPL", "A WITH y"] {
        assert!(!is_allowed(wrong, &list), "{wrong}");
    }
}
