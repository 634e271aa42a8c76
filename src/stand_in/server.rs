//! The stand-in's server: all services on one loopback port.
//!
//! Paths of the Lambda API go to `lambda.rs`, those of the metadata service to `metadata.rs`, those of the
//! containers' endpoints to `container.rs`, a POST to `/sessions` to IAM Roles Anywhere
//! (`roles_anywhere.rs`), and a POST to `/` goes to STS (`sts.rs`). All others are the API
//! at API Gateway, whose first segment is the stage: `/open` is open, `/key` requires an API key, `/iam` a
//! signature, `/both` both. Each stage has the functions of `functions.rs`.

use std::{
    any::Any,
    io,
    net::{Shutdown, SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::{Extensions, ServerHandle},
    http::{
        KeepAlive, Method,
        header::{self, HeaderValue, HttpDate},
    },
    web,
};
use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

use super::{
    account::Account,
    answers::{GatewayError, with_request_ids},
    container,
    functions::{self, FunctionAnswer, FunctionBody, ReceivedRequest},
    lambda, metadata,
    played::Played,
    roles_anywhere, sts, user_api,
};
use crate::stand_in::{Controls, StandInOptions};

/// API Gateway's limit (docs.aws.amazon.com, API Gateway quotas); Lambda's is below it.
const MAX_PAYLOAD: usize = 10 << 20;

/// A running stand-in, which stops on drop.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    account: Arc<Account>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts a server on its own thread.
    ///
    /// # Errors
    /// The address is not available.
    pub fn start(address: SocketAddr, options: StandInOptions) -> io::Result<Self> {
        let listener = crate::listener::sockets::bind_tcp(address)?;
        let address = listener.local_addr()?;
        let account = Arc::new(Account::new(options));
        let shared = Arc::clone(&account);
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new().name("stand-in".into()).spawn(move || {
            let result = actix_rt::System::new().block_on(async {
                let server = serve(listener, shared)?;
                let _ = sender.send(server.handle());
                server.await
            });
            if let Err(error) = result {
                log::error!("the stand-in stopped: {error}");
            }
        })?;
        let handle = receiver.recv().map_err(|_| io::Error::other("the stand-in did not start"))?;
        Ok(Self { address, account, handle, thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn controls(&self) -> &Arc<Controls> {
        &self.account.controls
    }

    /// A handle that makes the stand-in play the hosts of the user's own settings from now on.
    pub fn player(&self) -> impl Fn(Played) + Send + Sync + 'static {
        let account = Arc::clone(&self.account);
        move |played| account.play(played)
    }

    /// All secrets and tokens that it accepts or issued; no log may contain them.
    pub fn secrets(&self) -> Vec<String> {
        self.account.secrets()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // the call alone sends the command; the future would wait for the end
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: TcpListener, account: Arc<Account>) -> io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&account)))
            .app_data(web::PayloadConfig::new(MAX_PAYLOAD))
            .default_service(web::to(answer))
    });
    Ok(server
        .on_connect(ClientSocket::keep)
        .workers(1)
        .disable_signals()
        // the idle timeout of API Gateway
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(310)))
        .tcp_nodelay(true)
        .listen(listener)?
        .run())
}

async fn answer(
    request: HttpRequest,
    account: web::Data<Account>,
    body: Result<web::Bytes, actix_web::Error>,
) -> HttpResponse {
    let to_lambda = lambda::has(request.uri().path());
    let body = match body {
        Ok(body) => body,
        Err(_) if to_lambda => return lambda::too_large(),
        Err(_) => return GatewayError::RequestTooLarge.answer(),
    };
    let mut call = ReceivedRequest {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request.headers().clone(),
        body,
    };
    let host = call.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let (played, host) = (account.played().unwrap_or_default(), host.to_owned());
    let named = if to_lambda { Vec::new() } else { played.named(&host) };
    let apis = if to_lambda { Vec::new() } else { played.apis(&named, &host, &call.path) };
    let to_api = !to_lambda && (!apis.is_empty() || played.owns(&host));
    let to_sts = !to_api && call.path == "/" && call.method == Method::POST;
    if let Some(fault) =
        account.options.fault.filter(|_| !to_sts && call.headers.contains_key("authorization"))
    {
        fault.tamper(&mut call);
    }
    let mut answer = match &*call.path {
        _ if to_lambda => lambda::answer(&call, &account, played.lambda(&host)).await,
        _ if to_api && apis.is_empty() => GatewayError::Forbidden.answer(),
        _ if to_api => user_api::answer(&call, &account, &apis).await,
        _ if to_sts => match sts::answer(&call, &account).await {
            Some(answer) => answer,
            None => close(&request),
        },
        "/sessions" if call.method == Method::POST => roles_anywhere::answer(&call, &account),
        path if metadata::has(path) => metadata::answer(&call, &account).await,
        path if container::has(path) => container::answer(&call, &account),
        _ => api_gateway(&call, &account).await,
    };
    // actix's own `Date` has this machine's time
    if let Ok(date) = HeaderValue::from_str(&HttpDate::from(account.now()).to_string()) {
        answer.headers_mut().insert(header::DATE, date);
    }
    answer
}

async fn api_gateway(call: &ReceivedRequest, account: &Account) -> HttpResponse {
    if let Err(error) = admit(call, account) {
        return error.answer();
    }
    match functions::run(call, account.options.words_pause).await {
        Some(answer) => sent(answer),
        // API Gateway's response to an unknown path
        None => GatewayError::MissingAuthenticationToken.answer(),
    }
}

/// The socket of a request's connection: actix's handlers cannot close it without a response.
struct ClientSocket(Socket);

impl ClientSocket {
    fn keep(stream: &dyn Any, data: &mut Extensions) {
        let stream = stream.downcast_ref::<TcpStream>().map(|stream| SockRef::from(stream).try_clone());
        if let Some(Ok(socket)) = stream {
            data.insert(Self(socket));
        }
    }
}

/// Closes the connection; the returned response is never sent.
fn close(request: &HttpRequest) -> HttpResponse {
    if let Some(ClientSocket(socket)) = request.conn_data() {
        let _ = socket.shutdown(Shutdown::Both);
    }
    HttpResponse::ServiceUnavailable().force_close().finish()
}

/// A function's response as a REST API sends it.
fn sent(answer: FunctionAnswer) -> HttpResponse {
    let mut builder = with_request_ids(HttpResponse::build(answer.status));
    for header in answer.headers {
        builder.append_header(header);
    }
    match answer.body {
        FunctionBody::None => builder.finish(),
        FunctionBody::Whole(body) => builder.body(body),
        FunctionBody::Streamed(body) => builder.streaming(body),
    }
}

/// Checks the API key and the signature that the stage requires.
fn admit(call: &ReceivedRequest, account: &Account) -> Result<(), GatewayError> {
    let (key, signature) = match call.path.split('/').nth(1).unwrap_or_default() {
        "open" => (false, false),
        "key" => (true, false),
        "iam" => (false, true),
        "both" => (true, true),
        _ => return Err(GatewayError::Forbidden),
    };
    let keys = &account.options.keys;
    if signature {
        account.caller(call, &keys.service)?;
    }
    let given = call.headers.get("x-api-key").map(HeaderValue::as_bytes);
    if key && given != Some(keys.api_key.as_bytes()) {
        return Err(GatewayError::Forbidden);
    }
    Ok(())
}
