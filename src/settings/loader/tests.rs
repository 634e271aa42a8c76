use std::{fs, sync::Arc, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::settings::RouteSettings;

struct Directory {
    at: TempDir,
    loader: SettingsLoader,
}

impl Directory {
    /// A directory with these routes.
    fn with(routes: &[&str]) -> Self {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir(at.path().join("routes")).unwrap();
        let directory = Self { loader: SettingsLoader::new(at.path()), at };
        for name in routes {
            directory.write_route(name, "");
        }
        directory
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at.path().join(name), text).unwrap();
    }

    fn write_route(&self, name: &str, more: &str) {
        let uri = "https://abc.execute-api.us-east-1.amazonaws.com/prod";
        let text = format!("uri: /{name}\n{more}api_gateway: {{ function_uri: '{uri}', timeout: 5s }}\n");
        self.write(&format!("routes/{name}.yaml"), &text);
    }

    /// Loads the settings when every file that is there has settled.
    fn load(&mut self) -> Result<Vec<Arc<RouteSettings>>, String> {
        let later = SystemTime::now() + Duration::from_secs(10);
        let loaded = self.loader.load_at(later, NoRoutes::Taken, &[]);
        loaded.map(|settings| settings.routes).map_err(|mistakes| mistakes.to_string())
    }
}

fn are_same(one: &[Arc<RouteSettings>], other: &[Arc<RouteSettings>]) -> Vec<bool> {
    one.iter().zip(other).map(|(one, other)| Arc::ptr_eq(one, other)).collect()
}

#[test]
fn only_a_route_whose_file_has_changed_is_read_again() {
    let mut directory = Directory::with(&["a", "b", "c"]);
    let first = directory.load().unwrap();
    let again = directory.load().unwrap();
    assert_eq!(are_same(&first, &again), [true; 3]);
    directory.write_route("b", "priority: 7\n");
    let changed = directory.load().unwrap();
    assert_eq!(are_same(&again, &changed), [true, false, true]);
    assert_eq!(changed[1].rule.priority, 7);
    fs::remove_file(directory.at.path().join("routes/a.yaml")).unwrap();
    assert_eq!(are_same(&changed[1..], &directory.load().unwrap()), [true; 2]);
}

#[test]
fn a_file_that_is_written_again_with_the_same_text_gives_the_same_route() {
    let mut directory = Directory::with(&["a"]);
    let first = directory.load().unwrap();
    directory.write_route("a", "");
    assert_eq!(are_same(&first, &directory.load().unwrap()), [true]);
}

#[test]
fn files_that_may_still_change_within_their_stamp_are_read_again() {
    let mut directory = Directory::with(&["a"]);
    let load = |directory: &mut Directory| directory.loader.load_again().unwrap().routes;
    let first = load(&mut directory);
    directory.write_route("a", "priority: 1\n");
    assert_eq!(are_same(&first, &load(&mut directory)), [false]);
}

#[test]
fn changed_defaults_change_every_route() {
    let mut directory = Directory::with(&["a", "b"]);
    let first = directory.load().unwrap();
    directory.write("default.yaml", "defaults: { api_gateway: { idle_timeout: 9s } }\n");
    let changed = directory.load().unwrap();
    assert_eq!(are_same(&first, &changed), [false; 2]);
    assert!(
        changed.iter().all(|route| route.backend.upstream().timeouts.idle == Some(Duration::from_secs(9)))
    );
}

#[test]
fn a_route_is_read_again_when_a_file_that_it_leads_to_changes() {
    let mut directory = Directory::with(&["a", "b"]);
    directory.write("secret", "a\n");
    let reference = format!("id: $file://{}\n", directory.at.path().join("secret").display());
    directory.write_route("a", &reference);
    let first = directory.load().unwrap();
    assert_eq!(are_same(&first, &directory.load().unwrap()), [true; 2]);
    directory.write("secret", "another\n");
    let changed = directory.load().unwrap();
    assert_eq!((are_same(&first, &changed), &*changed[0].id), (vec![false, true], "another"));
    fs::remove_file(directory.at.path().join("secret")).unwrap();
    assert!(directory.load().unwrap_err().contains("secret cannot be read"));
}

#[test]
fn a_clash_with_a_route_that_is_known_is_found_each_time_with_its_line() {
    let mut directory = Directory::with(&["a", "b"]);
    directory.load().unwrap();
    directory.write_route("c", "id: b\n");
    let expected = "routes/c.yaml:2: id: duplicate id `b`";
    for _ in 0..3 {
        let mistakes = directory.load().unwrap_err();
        assert!(mistakes.contains(expected), "{mistakes}");
    }
    directory.write("routes/c.yaml", &fs::read_to_string(directory.at.path().join("routes/a.yaml")).unwrap());
    let mistakes = directory.load().unwrap_err();
    assert!(mistakes.contains("routes/c.yaml:1: uri: matches the same requests as"), "{mistakes}");
    // the reported route was known and has not been read this time
    directory.write_route("c", "");
    directory.load().unwrap();
    directory.write("routes/a.yaml", &fs::read_to_string(directory.at.path().join("routes/c.yaml")).unwrap());
    let mistakes = directory.load().unwrap_err();
    assert!(mistakes.contains("routes/c.yaml:1: uri: matches the same requests as"), "{mistakes}");
}

#[test]
fn a_mistake_in_a_route_is_reported_each_time_and_warnings_of_known_routes_stay() {
    let mut directory = Directory::with(&["a"]);
    directory.write(
        "routes/b.yaml",
        &fs::read_to_string(directory.at.path().join("routes/a.yaml"))
            .unwrap()
            .replace("uri: /a", "uri: /:b"),
    );
    let later = SystemTime::now() + Duration::from_secs(10);
    for _ in 0..2 {
        let settings = directory.loader.load_at(later, NoRoutes::Taken, &[]).unwrap();
        assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
    }
    directory.write_route("a", "methods: [get]\n");
    for _ in 0..2 {
        let mistakes = directory.load().unwrap_err();
        assert!(mistakes.contains("routes/a.yaml:2: methods.0: invalid value `get`"), "{mistakes}");
    }
}
