//! Signed bundles and their serial numbers.

use std::{fs, io::Write as _, net::TcpStream, path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{
    bundle::{PROCESS, Source, bundle, route, run},
    named, shell,
};
use crate::support::{
    Upstream, eventually, get,
    process::{Process, binary, end_of},
    upstream::Received,
};

/// The prefix of the DER of every Ed25519 public key (RFC 8410, 10.1).
const DER_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

struct Signer {
    pair: Ed25519KeyPair,
    file: tempfile::NamedTempFile,
}

impl Signer {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let der = [&DER_PREFIX[..], pair.public_key().as_ref()].concat();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
            .unwrap();
        Self { pair, file }
    }

    fn signature(&self, bundle: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(bundle)) + "\n"
    }

    /// Puts a bundle with its signature on the server.
    fn put(&self, source: &Source, bundle: Vec<u8>) {
        put(source, self.signature(&bundle), bundle);
    }
}

fn put(source: &Source, signature: String, bundle: Vec<u8>) {
    source.answer(move |request: &Received, stream: &mut TcpStream| {
        let is_signature = request.target().contains(".sig");
        let body = if is_signature { signature.as_bytes() } else { &bundle };
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())?;
        stream.write_all(body)
    });
}

fn numbered(serial: &str, upstream: &Upstream) -> Vec<u8> {
    bundle(&[("bundle.yaml", serial), ("default.yaml", PROCESS), ("routes/a.yaml", &route("/a", upstream))])
}

/// A sidecar with the key of a signer, and a cache.
fn start(source: &Source, signer: &Signer, cache: &Path) -> Command {
    let mut command = run(&source.address("", "/b.tgz?x=1"));
    command.arg("--settings-key").arg(signer.file.path()).arg("--settings-cache").arg(cache);
    command.args(["--settings-wait", "1s"]);
    command
}

#[test]
fn only_bundles_of_the_key_with_the_same_or_a_higher_serial_are_used() {
    let (one, two) = (named("one"), named("two"));
    let (signer, other) = (Signer::new(1), Signer::new(2));
    let source = Source::with(Vec::new());
    signer.put(&source, numbered("serial: 5", &one));
    let cache = tempfile::tempdir().unwrap();
    let (mut process, address) = Process::listening(&mut start(&source, &signer, cache.path()));
    assert!(source.server.received().iter().any(|request| request.target() == "/b.tgz.sig?x=1"));
    let admin = process.admin();
    let shown = || get(admin, "/ready").json()["settings"]["source"].clone();
    assert_eq!(shown()["serial"], 5);
    let (newer, older, unnumbered) =
        (numbered("serial: 6", &two), numbered("serial: 4", &two), super::to(&two));
    let wrong = numbered("serial: x", &two);
    for (told, signature, bundle) in [
        ("not that of this bundle", other.signature(&newer), &newer),
        ("not that of this bundle", signer.signature(b"other"), &newer),
        ("the signature is not base64", "<html>".to_owned(), &newer),
        ("serial 4, in use 5", signer.signature(&older), &older),
        ("no bundle.yaml with `serial: N`", signer.signature(&unnumbered), &unnumbered),
        ("bundle.yaml: no whole number", signer.signature(&wrong), &wrong),
    ] {
        put(&source, signature, bundle.clone());
        eventually(told, || shown()["error"].to_string().contains(told));
        assert_eq!(get(address, "/a").text(), "one", "{told}");
    }
    // old content with a higher number rolls back
    signer.put(&source, newer);
    eventually("the new bundle is used", || get(address, "/a").text() == "two");
    signer.put(&source, numbered("serial: 7", &one));
    eventually("the old content is used", || get(address, "/a").text() == "one");
    eventually("the serial is shown", || shown()["serial"] == 7);
    process.stop();
}

#[test]
fn an_older_bundle_is_refused_after_a_restart_and_a_cache_of_another_key_is_not_used() {
    let (one, two) = (named("one"), named("two"));
    let (signer, other) = (Signer::new(1), Signer::new(2));
    let source = Source::with(Vec::new());
    let cache = tempfile::tempdir().unwrap();
    signer.put(&source, numbered("serial: 7", &one));
    let (mut process, _) = Process::listening(&mut start(&source, &signer, cache.path()));
    process.stop();
    // an attacker may have kept it with its signature
    signer.put(&source, numbered("serial: 6", &two));
    let (mut process, address) = Process::listening(&mut start(&source, &signer, cache.path()));
    process.says("serial 6, in use 7");
    assert_eq!(get(address, "/a").text(), "one");
    process.stop();
    // the same key signs the bundles of all addresses
    let elsewhere = Source::with(Vec::new());
    signer.put(&elsewhere, numbered("serial: 6", &two));
    let (mut process, address) = Process::listening(&mut start(&elsewhere, &signer, cache.path()));
    process.says(&format!("serial 6, in use 7 of http://{}/b.tgz?(left out)", source.server.address));
    assert_eq!(get(address, "/a").text(), "one");
    process.stop();
    source.answer(|_, _| Err(std::io::ErrorKind::ConnectionReset.into()));
    let ended = end_of(&mut start(&source, &other, cache.path()));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let checked = end_of(binary(&["check", "--settings", "/x.tgz", "--settings-key"]).arg("/dev/null"));
    assert!(checked.code == Some(1) && checked.errors.contains("--settings-key: /dev/null: "), "{checked:?}");
}

/// The commands of settings/README.md.
#[test]
fn the_documented_commands_make_and_sign_a_bundle() {
    let page = include_str!("../../../settings/README.md");
    let section = page.split("\n## Settings from a source\n").nth(1).unwrap();
    let script = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let upstream = named("one");
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("settings");
    crate::support::process::write_settings(&settings, PROCESS, &[("a", &route("/a", &upstream))]);
    shell(script, directory.path());
    let at = |name: &str| directory.path().join(name);
    assert_eq!(fs::read_to_string(at("settings/bundle.yaml")).unwrap(), "serial: 1\n");
    let checked = end_of(
        binary(&["check", "--settings"])
            .arg(at("settings.tar.gz"))
            .arg("--settings-key")
            .arg(at("bundle-key.pub.pem")),
    );
    assert_eq!(checked.code, Some(0), "{checked:?}");
}
