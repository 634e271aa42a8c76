//! The cache after the process was killed at any moment.

use std::{fs, time::Duration};

use super::{
    bundle::{PROCESS, Source, bundle, route, run},
    named,
};
use crate::support::{get, process::Process};

/// Kills while the bundle changes all the time.
const KILLS: u64 = 30;

#[test]
fn the_cache_has_a_whole_bundle_after_each_of_thirty_kills() {
    let upstream = named("one");
    let with = |version: u32| {
        let secret = format!("{version}\n").repeat(2000);
        let route = route("/a", &upstream);
        let files: Vec<(String, String)> = (0..20)
            .map(|number| {
                (
                    format!("routes/r{number}.yaml"),
                    format!("# {version}\n{}", route.replace("/a", &format!("/a{number}"))),
                )
            })
            .chain([("default.yaml".to_owned(), PROCESS.to_owned()), ("secret".to_owned(), secret)])
            .collect();
        bundle(&files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>())
    };
    let source = Source::with(with(0));
    let cache = tempfile::tempdir().unwrap();
    let cached = || {
        let mut command = run(&source.address("", "/b"));
        command.arg("--settings-cache").arg(cache.path());
        command
    };
    let mut version = 0;
    for kill in 0..KILLS {
        let (process, address) = Process::listening(&mut cached());
        assert_eq!(get(address, "/a7").text(), "one", "kill {kill}");
        // within the fetch, the unpacking, the check, the replacement of the link, or between them
        let until = std::time::Instant::now() + Duration::from_millis(100 + kill * 7);
        while std::time::Instant::now() < until {
            version += 1;
            source.put(with(version));
            std::thread::sleep(Duration::from_millis(5));
        }
        process.signal("KILL");
        drop(process);
        let current = cache.path().join("current");
        let read = |name: &str| fs::read_to_string(current.join(name)).unwrap();
        let found: u32 = read("secret").lines().next().unwrap().parse().unwrap();
        assert_eq!(read("secret"), format!("{found}\n").repeat(2000));
        for number in 0..20 {
            assert!(read(&format!("routes/r{number}.yaml")).starts_with(&format!("# {found}\n")), "{number}");
        }
    }
    // the source is lost, and the last bundle serves
    source.answer(|_, _| Err(std::io::ErrorKind::ConnectionReset.into()));
    let (mut process, address) = Process::listening(&mut cached());
    assert_eq!(get(address, "/a0").text(), "one");
    assert!(fs::read_dir(cache.path().join("bundles")).unwrap().count() <= 2);
    process.stop();
}
