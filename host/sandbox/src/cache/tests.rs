//! What the cache must never load, and that it loads what it wrote.

use super::*;

const DIGEST: &str = "sha256:00ff";

fn engine() -> Engine {
    Engine::default()
}

fn component(engine: &Engine) -> Component {
    Component::new(engine, wat::parse_str("(component (core module (func (export \"f\"))))").unwrap()).unwrap()
}

/// A folder with one entry, and the entry's file.
fn filled(engine: &Engine) -> (tempfile::TempDir, CompileCache, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let cache = CompileCache::open(&folder.path().join("cache"), engine).unwrap();
    cache.store(DIGEST, &component(engine));
    let file = cache.folder.join(cache.name(DIGEST));
    (folder, cache, file)
}

#[test]
fn what_was_stored_is_loaded_again_by_the_next_process() {
    let engine = engine();
    let (_folder, cache, file) = filled(&engine);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&cache.folder).unwrap().mode() & 0o777, 0o700);
    assert!(cache.load(DIGEST).is_some());
    let again = CompileCache::open(&cache.folder, &engine).unwrap();
    assert!(again.load(DIGEST).is_some());
    assert!(again.load("sha256:00fe").is_none());
}

#[test]
fn a_flipped_bit_anywhere_means_compile_again() {
    let engine = engine();
    let (_folder, cache, file) = filled(&engine);
    let whole = fs::read(&file).unwrap();
    for position in (0..whole.len()).step_by(whole.len() / 64) {
        let mut flipped = whole.clone();
        flipped[position] ^= 1;
        fs::write(&file, flipped).unwrap();
        assert!(cache.load(DIGEST).is_none(), "bit of byte {position}");
    }
    for length in [0, MAC_BYTES - 1, MAC_BYTES, whole.len() - 1] {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(cache.load(DIGEST).is_none(), "{length} bytes");
    }
    fs::write(&file, whole).unwrap();
    assert!(cache.load(DIGEST).is_some());
}

#[test]
fn an_entry_of_another_component_or_cache_is_not_loaded() {
    let engine = engine();
    let (_folder, cache, file) = filled(&engine);
    fs::copy(&file, cache.folder.join(cache.name("sha256:beef"))).unwrap();
    assert!(cache.load("sha256:beef").is_none());
    let (_other_folder, other, other_file) = filled(&engine);
    fs::copy(&file, &other_file).unwrap();
    assert!(other.load(DIGEST).is_none());
}

#[test]
fn machine_code_that_weir_did_not_write_is_not_loaded() {
    let engine = engine();
    let (_folder, cache, file) = filled(&engine);
    let foreign = component(&engine).serialize().unwrap();
    fs::write(&file, [vec![0; MAC_BYTES], foreign].concat()).unwrap();
    assert!(cache.load(DIGEST).is_none());
}

#[test]
fn an_engine_with_other_settings_has_entries_of_its_own() {
    let engine = engine();
    let (_folder, cache, _) = filled(&engine);
    let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
    assert!(CompileCache::open(&cache.folder, &other).unwrap().load(DIGEST).is_none());
}

#[test]
fn a_folder_or_key_that_others_may_touch_is_not_used() {
    let engine = engine();
    let (_folder, cache, file) = filled(&engine);
    let refused = |expected: &str| {
        let text = CompileCache::open(&cache.folder, &engine).err().unwrap().to_string();
        assert!(text.contains(expected), "{text}");
    };
    fs::set_permissions(&cache.folder, Permissions::from_mode(0o755)).unwrap();
    refused("must belong to this user alone (mode 0700), has mode 0755");
    cache.store("sha256:beef", &component(&engine));
    assert!(!cache.folder.join(cache.name("sha256:beef")).exists());
    fs::set_permissions(&cache.folder, Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(cache.folder.join(KEY_FILE), Permissions::from_mode(0o644)).unwrap();
    refused("has mode 0644");
    fs::remove_file(cache.folder.join(KEY_FILE)).unwrap();
    fs::write(cache.folder.join(KEY_FILE), "short").unwrap();
    fs::set_permissions(cache.folder.join(KEY_FILE), Permissions::from_mode(0o600)).unwrap();
    refused("is not a key; delete it");
    fs::remove_file(cache.folder.join(KEY_FILE)).unwrap();
    let renewed = CompileCache::open(&cache.folder, &engine).unwrap();
    assert!(renewed.load(DIGEST).is_none() && file.exists());
    renewed.store(DIGEST, &component(&engine));
    assert!(renewed.load(DIGEST).is_some());
}

#[test]
fn a_link_instead_of_a_folder_is_not_used() {
    let engine = engine();
    let (folder, cache, _) = filled(&engine);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&cache.folder, &link).unwrap();
    assert!(CompileCache::open(&link, &engine).is_err());
}
