//! A scripted HTTP server and settings that the unit tests of this room share, and the tests of
//! `credentials.rs`.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{CredentialSource, aws_transport::AwsTransport};
use crate::settings::{
    CredentialProvider, CredentialSettings, EndpointVariant, MetadataProtocol, ProxyRule, Role,
};
use crate::tls::Configurations;

/// A transport without a proxy.
pub fn transport() -> AwsTransport {
    AwsTransport { tls: Configurations::default().get(false, None, None).unwrap(), proxy: ProxyRule::Off }
}

/// A server on a free port of loopback.
pub struct FakeServer {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeServer {
    /// Sends the result of `answer` for each request; never answers if the result is empty.
    pub async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&seen)));
            }
        });
        Self { address, requests }
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(&str) -> String>, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read(&mut stream).await {
        seen.lock().unwrap().push(request.clone());
        let answer = answer(&request);
        if answer.is_empty() {
            std::future::pending::<()>().await;
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        if !answer.contains("content-length") && !request.starts_with("CONNECT") {
            return;
        }
    }
}

/// Reads a request with its whole body, by `content-length`.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

/// A response 200 with a body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A fake STS: issues keys that live for an hour, `ASIA1` at the first request, `ASIA2` at the second.
pub async fn sts() -> FakeServer {
    let count = AtomicU32::new(0);
    FakeServer::start(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        ok(&sts_answer(request, number, SystemTime::now() + Duration::from_hours(1)))
    })
    .await
}

/// STS's response to a request (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
pub fn sts_answer(request: &str, number: u32, expiry: SystemTime) -> String {
    let action = ["AssumeRoleWithWebIdentity", "AssumeRole", "GetCallerIdentity"]
        .into_iter()
        .find(|action| request.contains(&format!("Action={action}&")))
        .unwrap();
    let arn = "arn:aws:sts::123456789012:assumed-role/r/s";
    let result = if action == "GetCallerIdentity" {
        format!("<Arn>{arn}</Arn><UserId>U</UserId><Account>123456789012</Account>")
    } else {
        let expiry = humantime::format_rfc3339_seconds(expiry);
        format!(
            "<AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>\
             <Credentials><AccessKeyId>ASIA{number}</AccessKeyId>\
             <SecretAccessKey>hush-secret</SecretAccessKey>\
             <SessionToken>hush-token</SessionToken><Expiration>{expiry}</Expiration></Credentials>"
        )
    };
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{result}\
         </{action}Result><ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>\
         </ResponseMetadata></{action}Response>"
    )
}

/// Keys of the settings, exchanged at `sts` for those of a role.
pub fn role_source(sts: &FakeServer) -> CredentialSettings {
    CredentialSettings {
        origin: CredentialProvider::Keys(Credentials::new("AKIDBASE", "hush-base", None, None, "settings")),
        role: Some(Role {
            arn: "arn:aws:iam::123456789012:role/r".to_owned(),
            session_name: "shop/orders".to_owned(),
            external_id: Some("external".to_owned()),
            duration: Some(Duration::from_mins(15)),
        }),
        region: "eu-west-1".to_owned(),
        sts_endpoint: Some(format!("http://{}", sts.address)),
        variant: EndpointVariant::default(),
        metadata: MetadataProtocol::V2,
        proxy: ProxyRule::Off,
    }
}

#[actix_rt::test]
async fn keys_of_the_settings_need_no_fetch() {
    let source =
        CredentialSource::fixed(Arc::new(Credentials::new("AKIDEXAMPLE", "hush", None, None, "settings")));
    let keys = source.current(SystemTime::now()).await.unwrap();
    assert_eq!(keys.access_key_id(), "AKIDEXAMPLE");
    source.refresh_soon(&keys);
    let status = source.status(SystemTime::now()).to_string();
    assert_eq!(status, "keys from the settings, access key ending in MPLE, without expiry");
}

#[test]
fn debug_shows_neither_secret_nor_token() {
    let source = CredentialSource::fixed(Arc::new(Credentials::new(
        "AKIDEXAMPLE",
        "hush-secret",
        Some("hush-token".into()),
        None,
        "settings",
    )));
    let shown = format!("{source:?}");
    assert!(!shown.contains("hush"), "{shown}");
}
