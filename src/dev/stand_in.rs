//! A stand-in for API Gateway and Lambda on loopback.
//!
//! Paths of the Lambda API go to `lambda.rs`. Of all others the first segment is an API's stage and decides
//! what is demanded: `/open` nothing, `/key` an API key, `/iam` a signature, `/both` both. Behind each are
//! the functions of `functions.rs`.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{KeepAlive, header::HeaderValue},
    web,
};

use super::{
    answers::{Refusal, with_request_ids},
    functions::{self, Answer, Body, Call},
    lambda,
    options::StandInOptions,
    verify::{self, Signed},
};

/// API Gateway's limit (docs.aws.amazon.com, API Gateway quotas); Lambda's is below it.
const MAX_PAYLOAD: usize = 10 << 20;

/// A running stand-in; it stops when dropped.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts one on a thread of its own.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn start(address: SocketAddr, options: StandInOptions) -> io::Result<Self> {
        let listener = crate::listener::bind(address)?;
        let address = listener.local_addr()?;
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new().name("stand-in".into()).spawn(move || {
            let result = actix_rt::System::new().block_on(async {
                let server = serve(listener, options)?;
                let _ = sender.send(server.handle());
                server.await
            });
            if let Err(error) = result {
                log::error!("the stand-in stopped: {error}");
            }
        })?;
        let handle = receiver.recv().map_err(|_| io::Error::other("the stand-in did not start"))?;
        Ok(Self { address, handle, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // the command is on its way once the future exists
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: TcpListener, options: StandInOptions) -> io::Result<actix_web::dev::Server> {
    let options = Arc::new(options);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&options)))
            .app_data(web::PayloadConfig::new(MAX_PAYLOAD))
            .default_service(web::to(answer))
    });
    Ok(server
        .workers(1)
        .disable_signals()
        // the idle time of API Gateway's connections
        .keep_alive(KeepAlive::Timeout(Duration::from_secs(310)))
        .tcp_nodelay(true)
        .listen(listener)?
        .run())
}

async fn answer(
    request: HttpRequest,
    options: web::Data<StandInOptions>,
    body: Result<web::Bytes, actix_web::Error>,
) -> HttpResponse {
    let to_lambda = lambda::has(request.uri().path());
    let body = match body {
        Ok(body) => body,
        Err(_) if to_lambda => return lambda::too_large(),
        Err(_) => return Refusal::RequestTooLarge.answer(),
    };
    let call = Call {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request.headers().clone(),
        body,
    };
    if to_lambda {
        return lambda::answer(&call, &options).await;
    }
    if let Err(refusal) = admit(&call, &options) {
        return refusal.answer();
    }
    match functions::run(&call, options.words_pause).await {
        Some(answer) => sent(answer),
        // API Gateway says the same of a path that it does not know
        None => Refusal::MissingAuthenticationToken.answer(),
    }
}

/// A function's answer as a REST API sends it.
fn sent(answer: Answer) -> HttpResponse {
    let mut builder = with_request_ids(HttpResponse::build(answer.status));
    for header in answer.headers {
        builder.append_header(header);
    }
    match answer.body {
        Body::None => builder.finish(),
        Body::Whole(body) => builder.body(body),
        Body::Written(written) => builder.streaming(written),
    }
}

/// Checks what the stage demands.
fn admit(call: &Call, options: &StandInOptions) -> Result<(), Refusal> {
    let (key, signature) = match call.path.split('/').nth(1).unwrap_or_default() {
        "open" => (false, false),
        "key" => (true, false),
        "iam" => (false, true),
        "both" => (true, true),
        _ => return Err(Refusal::Forbidden),
    };
    if signature {
        let request = Signed {
            method: call.method.as_str(),
            path: &call.path,
            query: &call.query,
            headers: &call.headers,
            body: &call.body,
        };
        verify::verify(&request, &options.keys, options.now())?;
    }
    let given = call.headers.get("x-api-key").map(HeaderValue::as_bytes);
    if key && given != Some(options.keys.api_key.as_bytes()) {
        return Err(Refusal::Forbidden);
    }
    Ok(())
}
