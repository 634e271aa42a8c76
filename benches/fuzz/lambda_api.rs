//! Lambda API that returns the response prepared by a case.

use std::{cell::RefCell, collections::HashMap, io, net::SocketAddr, rc::Rc};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

use super::{
    delivery::{Delivery, End, reset},
    echo,
};

/// The Lambda API; it stops with its runtime. Each lane has its own function, so the name identifies the
/// response.
pub struct LambdaApi {
    pub address: SocketAddr,
    answers: Answers,
}

type Answers = Rc<RefCell<HashMap<String, (Delivery, u32)>>>;

impl LambdaApi {
    pub fn start() -> Self {
        let (listener, address) = echo::listen();
        let answers = Answers::default();
        tokio::task::spawn_local(accept(listener, Rc::clone(&answers)));
        Self { address, answers }
    }

    /// Sets the response of a function.
    pub fn answer(&self, function: &str, delivery: Delivery) {
        self.answers.borrow_mut().insert(function.to_owned(), (delivery, 0));
    }

    /// Number of invocations since the response was set.
    pub fn calls(&self, function: &str) -> u32 {
        self.answers.borrow().get(function).map_or(0, |(_, calls)| *calls)
    }

    /// A route from `/NAME/*` to the function of that name.
    pub fn route(&self, name: &str, rest: &str) -> (String, String) {
        let text = format!(
            "uri: /{name}/*\nlambda:\n  function_name: {name}\n  host: {}\n  port: {}\n  \
             disable_https: true\n  aws_region: us-east-1\n  aws_key: AKIDEXAMPLE\n  aws_secret: secret\n  \
             timeout: 3s\n{rest}",
            self.address.ip(),
            self.address.port()
        );
        (name.to_owned(), text)
    }
}

/// An HTTP response with `Content-Length`.
pub fn sized(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

async fn accept(listener: TcpListener, answers: Answers) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let answers = Rc::clone(&answers);
            tokio::task::spawn_local(async move {
                let _ = serve(stream, &answers).await;
            });
        }
    }
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = echo::read(&mut stream, &mut buffer).await? {
        let function = request.target.split('/').nth(3).unwrap_or_default();
        if function == "probe" {
            let path = serde_json::from_slice::<serde_json::Value>(&request.body).unwrap_or_default();
            let body = serde_json::json!({ "target": path["request_uri"] }).to_string();
            stream.write_all(&sized("Content-Type: application/json\r\n", body.as_bytes())).await?;
            continue;
        }
        let delivery = answers.borrow_mut().get_mut(function).map(|(delivery, calls)| {
            *calls += 1;
            delivery.clone()
        });
        let Some(delivery) = delivery else { return Ok(()) };
        delivery.write(&mut stream).await?;
        match delivery.end {
            End::Open => {}
            End::Close => return stream.shutdown().await,
            End::Reset => {
                reset(&stream);
                return Ok(());
            }
        }
    }
    Ok(())
}
