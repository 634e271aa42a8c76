//! IAM Roles Anywhere: a certificate in files is exchanged for keys at the stand-in, which verifies its
//! signature and its chain. The keys in `keys/` belong to no certificate elsewhere.

use std::{fs, path::Path, time::Duration};

use apigw_invoker::settings::{Document, Settings};
use rcgen::{
    ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};

use super::{super::support::tls::Authority, *};

const RSA_PKCS8: &str = include_str!("keys/rsa.pkcs8.pem");
const RSA_PKCS1: &str = include_str!("keys/rsa.pkcs1.pem");
const EC_PKCS8: &str = include_str!("keys/ec.pkcs8.pem");
const EC_SEC1: &str = include_str!("keys/ec.sec1.pem");
const P384_PKCS8: &str = include_str!("keys/p384.pkcs8.pem");
const P384_SEC1: &str = include_str!("keys/p384.sec1.pem");
const P521: &str = include_str!("keys/p521.sec1.pem");

/// A certificate with this PKCS#8 key, as PEM; its serial number has 20 bytes.
fn certificate(authority: &Authority, key: &str, algorithm: &'static SignatureAlgorithm) -> String {
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(key, algorithm).unwrap();
    let identity = authority.issue_for(key, "pod", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from_slice(&[0x70; 20]));
    });
    identity.certificate().to_owned()
}

/// A stand-in that trusts this authority, and issues keys of this lifetime.
fn cloud(authority: &Authority, life: Duration) -> Cloud {
    let files = tempfile::tempdir().unwrap();
    let options = StandInOptions {
        life,
        trust_anchor: Some(authority.der().to_vec()),
        ..StandInOptions::new(StandInKeys::example())
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let stand_in = StandIn::start(any, options).expect("the stand-in starts");
    Cloud { stand_in, files, tokens: Mutex::default() }
}

impl Cloud {
    /// Writes certificate and key, whose text no log may contain.
    fn write(&self, name: &str, certificate: &str, key: &str) {
        fs::write(self.files.path().join(format!("{name}.crt")), certificate).unwrap();
        fs::write(self.files.path().join(format!("{name}.key")), key).unwrap();
        let lines = key.lines().filter(|line| !line.starts_with('-'));
        self.tokens.lock().unwrap().extend(lines.map(str::to_owned));
    }

    /// The keys of a route about the files of this name.
    fn roles_anywhere(&self, name: &str) -> String {
        format!(", roles_anywhere: {}", table(self.files.path(), name))
    }

    fn endpoints(&self) -> Variables {
        ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_ROLESANYWHERE"]
            .map(|name| (name.to_owned(), self.url("")))
            .into()
    }
}

fn table(directory: &Path, name: &str) -> String {
    format!(
        "{{ trust_anchor_arn: 'arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/a-1', \
         profile_arn: 'arn:aws:rolesanywhere:us-east-1:123456789012:profile/p-1', \
         role_arn: 'arn:aws:iam::123456789012:role/reader', \
         certificate: {0}/{name}.crt, key: {0}/{name}.key }}",
        directory.display()
    )
}

#[test]
fn rsa_and_ec_keys_of_every_format_get_the_keys_of_the_role() {
    let authority = Authority::new("anchor");
    let cloud = cloud(&authority, Duration::from_hours(1));
    let rsa = certificate(&authority, RSA_PKCS8, &PKCS_RSA_SHA256);
    let ec = certificate(&authority, EC_PKCS8, &PKCS_ECDSA_P256_SHA256);
    let p384 = certificate(&authority, P384_PKCS8, &PKCS_ECDSA_P384_SHA384);
    let kinds = [
        ("rsa-pkcs8", &rsa, RSA_PKCS8),
        ("rsa-pkcs1", &rsa, RSA_PKCS1),
        ("ec-pkcs8", &ec, EC_PKCS8),
        ("ec-sec1", &ec, EC_SEC1),
        ("p384-pkcs8", &p384, P384_PKCS8),
        ("p384-sec1", &p384, P384_SEC1),
    ];
    let routes = kinds.map(|(name, certificate, key)| {
        cloud.write(name, certificate, key);
        let uri = cloud.url("/iam/hello");
        (name, gateway(&format!("/{name}"), &uri, &cloud.roles_anywhere(name)))
    });
    let sidecar = Sidecar::start(&routes, &cloud.endpoints());
    for (name, ..) in kinds {
        let response = sidecar.get(&format!("/{name}"));
        assert_eq!(response.status, 200, "{name}: {}", sidecar.process.errors());
    }
    assert_eq!(cloud.calls(Service::RolesAnywhere), kinds.len());
    // the session's name is the serial number in hexadecimal
    let session = format!("assumed-role/reader/{}", "70".repeat(20));
    sidecar.process.says("keys from IAM Roles Anywhere, account 123456789012, arn:aws:sts::");
    assert!(sidecar.end(&cloud).contains(&session));
}

#[test]
fn intermediate_certificates_behind_the_certificate_are_sent() {
    let authority = Authority::new("anchor");
    let intermediate = authority.intermediate("intermediate");
    let cloud = cloud(&authority, Duration::from_hours(1));
    let alone = certificate(&intermediate, EC_PKCS8, &PKCS_ECDSA_P256_SHA256);
    cloud.write("chain", &format!("{alone}{}", intermediate.pem()), EC_SEC1);
    cloud.write("alone", &alone, EC_SEC1);
    let uri = cloud.url("/iam/hello");
    let routes = ["chain", "alone"]
        .map(|name| (name, gateway(&format!("/{name}"), &uri, &cloud.roles_anywhere(name))));
    let sidecar = Sidecar::start(&routes, &cloud.endpoints());
    assert_eq!(sidecar.get("/chain").status, 200, "{}", sidecar.process.errors());
    assert!(unavailable(&sidecar.get("/alone")));
    sidecar.process.says(
        "CreateSession of arn:aws:iam::123456789012:role/reader: AccessDeniedException: Untrusted \
         certificate. Insufficient certificate; see that the trust anchor trusts the certificate's authority",
    );
    sidecar.end(&cloud);
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart() {
    let authority = Authority::new("anchor");
    let cloud = cloud(&authority, Duration::from_hours(1));
    let renewed = authority.client("pod");
    let first = certificate(&authority, EC_PKCS8, &PKCS_ECDSA_P256_SHA256);
    cloud.write("tls", &first, EC_PKCS8);
    let iam = cloud.roles_anywhere("tls");
    let sidecar = Sidecar::with_route(&cloud.url("/iam/hello"), &iam, &cloud.endpoints());
    assert_eq!(sidecar.get("/r").status, 200, "{}", sidecar.process.errors());
    cloud.write("tls", renewed.certificate(), &renewed.key());
    eventually("the renewed certificate is exchanged", || {
        assert_eq!(sidecar.get("/r").status, 200);
        sidecar.sets_of_keys() == 2
    });
    sidecar.end(&cloud);
}

#[test]
fn an_expired_certificate_at_run_time_is_503_with_the_cause_in_the_log() {
    let authority = Authority::new("anchor");
    let cloud = cloud(&authority, Duration::from_secs(3));
    let first = certificate(&authority, EC_PKCS8, &PKCS_ECDSA_P256_SHA256);
    cloud.write("tls", &first, EC_PKCS8);
    let iam = cloud.roles_anywhere("tls");
    let sidecar = Sidecar::with_route(&cloud.url("/iam/hello"), &iam, &cloud.endpoints());
    assert_eq!(sidecar.get("/r").status, 200, "{}", sidecar.process.errors());
    let expired = authority.issue("pod", |params| params.not_after = date_time_ymd(2020, 1, 1));
    cloud.write("tls", expired.certificate(), &expired.key());
    eventually("the keys have expired", || unavailable(&sidecar.get("/r")));
    sidecar.process.says("certificate of roles_anywhere: expired on 2020-01-01, ");
    sidecar.process.says("; replace it by a valid one, which takes no restart");
    cloud.write("tls", &first, EC_PKCS8);
    sidecar.recovers("/r");
    sidecar.end(&cloud);
}

/// Files that cannot be exchanged: its name, certificate and key (`None`: a directory takes the place of the
/// file), and the start of the problem behind `certificate` or `key`.
type Fault<'a> = (&'a str, Option<String>, Option<String>, &'a str);

/// `whole` and its key, half written or not its own.
fn faults(authority: &Authority, whole: &str) -> Vec<Fault<'static>> {
    let (half, half_key) = (&whole[..whole.len() / 2], &EC_SEC1[..EC_SEC1.len() / 2]);
    let future = authority.issue("pod", |params| params.not_before = date_time_ymd(4000, 1, 1));
    let expired = authority.issue("pod", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let (some, key) = (|text: &str| Some(text.to_owned()), Some(EC_SEC1.to_owned()));
    vec![
        ("half", some(half), key.clone(), "certificate: invalid PEM"),
        ("begun", some("-----BEGIN CERT"), key.clone(), "certificate: invalid PEM"),
        ("empty", some(""), key.clone(), "certificate: the file has no certificate"),
        ("half-chain", some(&format!("{whole}{half}")), key.clone(), "certificate: invalid PEM"),
        ("half-key", some(whole), some(half_key), "key: invalid PEM"),
        ("foreign", some(whole), some(RSA_PKCS1), "key: it is not the key of the first certificate"),
        ("directory", None, key, "certificate: not a regular file"),
        ("key-directory", some(whole), None, "key: not a regular file"),
        ("expired", some(expired.certificate()), some(&expired.key()), "certificate: expired on 2020-01-01"),
        ("future", some(future.certificate()), some(&future.key()), "certificate: is not valid before 4000"),
    ]
}

impl Cloud {
    fn break_files(&self, (name, certificate, key, _): &Fault<'_>) {
        for (suffix, text) in [("crt", certificate), ("key", key)] {
            let file = self.files.path().join(format!("{name}.{suffix}"));
            match text {
                Some(text) => fs::write(file, text).unwrap(),
                None => {
                    let _ = fs::remove_file(&file);
                    fs::create_dir(file).unwrap();
                }
            }
        }
    }
}

#[test]
fn files_that_cannot_be_exchanged_are_mistakes_with_their_cure() {
    let authority = Authority::new("anchor");
    let cloud = cloud(&authority, Duration::from_hours(1));
    let whole = certificate(&authority, EC_PKCS8, &PKCS_ECDSA_P256_SHA256);
    for fault in faults(&authority, &whole) {
        cloud.break_files(&fault);
        let (name, _, _, problem) = fault;
        let (setting, problem) = problem.split_once(": ").unwrap();
        let key = format!("roles_anywhere.{setting}");
        assert_mistake(&table(cloud.files.path(), name), "", &key, problem);
        let cure = if setting == "key" { "a PEM file with the key" } else { "a PEM file with a valid" };
        assert_mistake(&table(cloud.files.path(), name), "", &key, &format!("; expected {cure}"));
    }
}

#[test]
fn files_that_cannot_be_exchanged_at_run_time_are_503_until_they_are_whole() {
    let authority = Authority::new("anchor");
    let cloud = cloud(&authority, Duration::from_secs(4));
    let whole = certificate(&authority, EC_PKCS8, &PKCS_ECDSA_P256_SHA256);
    let faults = faults(&authority, &whole);
    let uri = cloud.url("/iam/hello");
    let routes: Vec<_> = faults
        .iter()
        .map(|(name, ..)| {
            cloud.write(name, &whole, EC_SEC1);
            (*name, gateway(&format!("/{name}"), &uri, &cloud.roles_anywhere(name)))
        })
        .collect();
    let sidecar = Sidecar::start(&routes, &cloud.endpoints());
    for (name, ..) in &faults {
        assert_eq!(sidecar.get(&format!("/{name}")).status, 200, "{name}: {}", sidecar.process.errors());
    }
    for fault in &faults {
        cloud.break_files(fault);
    }
    for (name, _, _, problem) in &faults {
        eventually("the keys have expired", || unavailable(&sidecar.get(&format!("/{name}"))));
        let (setting, problem) = problem.split_once(": ").unwrap();
        sidecar.process.says(&format!("{setting} of roles_anywhere: {problem}"));
    }
    for (name, ..) in &faults {
        for suffix in ["crt", "key"] {
            let _ = fs::remove_dir(cloud.files.path().join(format!("{name}.{suffix}")));
        }
        cloud.write(name, &whole, EC_SEC1);
    }
    for (name, ..) in &faults {
        sidecar.recovers(&format!("/{name}"));
    }
    sidecar.end(&cloud);
}

#[test]
fn a_half_written_renewal_keeps_the_keys_until_it_is_whole() {
    let authority = Authority::new("anchor");
    let cloud = cloud(&authority, Duration::from_hours(1));
    let first = certificate(&authority, EC_PKCS8, &PKCS_ECDSA_P256_SHA256);
    cloud.write("tls", &first, EC_PKCS8);
    let iam = cloud.roles_anywhere("tls");
    let sidecar = Sidecar::with_route(&cloud.url("/iam/hello"), &iam, &cloud.endpoints());
    assert_eq!(sidecar.get("/r").status, 200, "{}", sidecar.process.errors());
    let renewed = authority.client("pod");
    let half = &renewed.certificate()[..renewed.certificate().len() / 2];
    cloud.write("tls", half, EC_PKCS8);
    sidecar.process.says("certificate of roles_anywhere: invalid PEM");
    assert_eq!(sidecar.get("/r").status, 200);
    // the certificate first, then its key
    cloud.write("tls", renewed.certificate(), EC_PKCS8);
    sidecar.process.says("key of roles_anywhere: it is not the key of the first certificate");
    assert_eq!(sidecar.get("/r").status, 200);
    cloud.write("tls", renewed.certificate(), &renewed.key());
    eventually("the renewed certificate is exchanged", || {
        assert_eq!(sidecar.get("/r").status, 200);
        sidecar.sets_of_keys() == 2
    });
    sidecar.end(&cloud);
}

/// The mistakes of a route with this section of credentials.
#[track_caller]
fn mistakes(section: &str) -> String {
    let route = format!("uri: /*\n{section}");
    let documents = [Document::process(""), Document::route("r", &route)];
    let environment = [("KEY".to_owned(), EC_SEC1.to_owned())].into();
    let mistakes = Settings::from_documents(&documents, &environment);
    mistakes.map_or_else(|mistakes| mistakes.to_string(), |_| String::new())
}

/// The mistakes of both backends with this table as `roles_anywhere`, and keys beside it.
#[track_caller]
fn assert_mistake(table: &str, beside: &str, key: &str, mistake: &str) {
    let gateway = format!(
        "api_gateway:\n  function_uri: https://a.example/\n  authorization:\n    \
         iam: {{ roles_anywhere: {table}{beside} }}\n"
    );
    let beside = beside.replace("accesskey", "aws_key").replace("secretkey", "aws_secret");
    let beside = beside.replace("profile:", "aws_profile:");
    let lambda = format!(
        "lambda: {{ function_name: f, aws_region: us-east-1, aws_roles_anywhere: {table}{beside} }}\n"
    );
    for (section, path) in [(gateway, "api_gateway.authorization.iam."), (lambda, "lambda.aws_")] {
        let found = mistakes(&section);
        let key = if path == "lambda.aws_" { key.replace("accesskey", "key") } else { key.to_owned() };
        assert!(found.contains(&format!(": {path}{key}: ")), "{found}");
        assert!(found.contains(mistake), "{found}\ndoes not contain\n{mistake}");
        assert!(found.ends_with("\n1 mistake in the settings"), "{found}");
        assert!(EC_SEC1.lines().chain(EC_PKCS8.lines()).skip(1).all(|line| !found.contains(line)), "{found}");
    }
}

#[test]
fn mistakes_of_the_table_name_the_key_and_the_cure() {
    let authority = Authority::new("anchor");
    let cloud = cloud(&authority, Duration::from_hours(1));
    let ours = certificate(&authority, EC_PKCS8, &PKCS_ECDSA_P256_SHA256);
    cloud.write("tls", &ours, EC_PKCS8);
    cloud.write("foreign", &ours, RSA_PKCS1);
    cloud.write("p521", &ours, P521);
    let expired = authority.issue("pod", |params| params.not_after = date_time_ymd(2020, 1, 1));
    cloud.write("expired", expired.certificate(), &expired.key());
    let whole = table(cloud.files.path(), "tls");
    let named = |name: &str| table(cloud.files.path(), name);

    // right
    let right =
        format!("lambda: {{ function_name: f, aws_region: us-east-1, aws_roles_anywhere: {whole} }}\n");
    assert_eq!(mistakes(&right), "");
    let referred = whole.replace(&format!("{}/tls.key", cloud.files.path().display()), "$env://KEY");
    assert_eq!(mistakes(&right.replace(&whole, &referred)), "");

    let key =
        "it is not the key of the first certificate in certificate; expected a PEM file with the key of";
    assert_mistake(&named("foreign"), "", "roles_anywhere.key", key);
    let p521 = "an EC key on P-521, which is not supported; expected a PEM file with the key of certificate, \
                RSA or EC on P-256 or P-384";
    assert_mistake(&named("p521"), "", "roles_anywhere.key", p521);
    let certificate = "expired.crt: expired on 2020-01-01, ";
    assert_mistake(&named("expired"), "", "roles_anywhere.certificate", certificate);
    assert_mistake(&named("none"), "", "roles_anywhere.certificate", "No such file");
    let region = whole.replace("us-east-1:123456789012:profile", "eu-west-1:123456789012:profile");
    let other = "in another region than `trust_anchor_arn`: eu-west-1; expected a profile in us-east-1";
    assert_mistake(&region, "", "roles_anywhere.profile_arn", other);
    let swapped = whole.replace(":trust-anchor/a-1", ":profile/a-1");
    let expected = "expected arn:aws:rolesanywhere:REGION:ACCOUNT:trust-anchor/ID";
    assert_mistake(&swapped, "", "roles_anywhere.trust_anchor_arn", expected);
    let role = whole.replace("role_arn: 'arn:aws:iam::123456789012:role/reader', ", "");
    assert_mistake(&role, "", "roles_anywhere.role_arn", "missing; expected arn:aws:iam::ACCOUNT:role/NAME");
    assert_mistake(&whole, ", profile: team", "profile", "conflicts with `");
    // never the credential chain instead
    for empty in ["", "{}"] {
        let found = mistakes(&right.replace(&whole, empty));
        for key in ["trust_anchor_arn", "profile_arn", "role_arn", "certificate", "key"] {
            let missing = format!("lambda.aws_roles_anywhere.{key}: missing; expected ");
            assert!(found.contains(&missing), "{found}");
        }
    }
    assert!(
        mistakes(&right.replace("aws_roles", "aws_key: AKID, aws_roles"))
            .contains("lambda.aws_key: conflicts with `aws_roles_anywhere`; expected one of the two")
    );
}
