//! The thread that gathers spans and has them delivered, and what the workers hand them over to.
//!
//! `assembly.rs` starts one for a collector and keeps it while its settings stay the same. Nobody waits for it: there is
//! room for [`MOST_WAITING`] requests, and what comes beyond is dropped and counted. It ends when nobody has it any more.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc},
    time::Duration,
};

use tokio::{
    select,
    sync::{Notify, mpsc},
    time::sleep,
};

use super::{RequestSpan, delivery::Delivery};
use crate::{client::Endpoint, metrics::Metrics, settings::Otlp};

/// The requests that may wait, a few hundred bytes each.
const MOST_WAITING: usize = 4096;
/// The requests that are delivered at once; as many make a delivery worth while.
const PLENTY: usize = 512;
/// How long a request waits for others to be delivered with it.
const GATHERING: Duration = Duration::from_secs(1);

/// Where recorded requests are handed over.
pub struct Exporter {
    settings: Otlp,
    endpoint: Arc<Endpoint>,
    queue: mpsc::Sender<RequestSpan>,
    hurry: Arc<Hurry>,
    metrics: Arc<Metrics>,
    /// Disconnected once the thread has ended.
    ended: Mutex<std_mpsc::Receiver<()>>,
}

/// Why not to wait for more.
#[derive(Debug, Default)]
struct Hurry {
    plenty: Notify,
    finish: Notify,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Exporter {
    /// Starts the thread for the collector behind `endpoint`.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(settings: &Otlp, endpoint: Arc<Endpoint>, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let (alive, ended) = std_mpsc::channel();
        let hurry = Arc::<Hurry>::default();
        let gathering = Gathering { waiting, hurry: Arc::clone(&hurry) };
        let run = {
            let (settings, endpoint, metrics) =
                (settings.clone(), Arc::clone(&endpoint), Arc::clone(&metrics));
            move || {
                let _alive = alive;
                let delivery = Delivery::new(&settings, endpoint, metrics);
                actix_rt::System::new().block_on(gathering.run(delivery));
            }
        };
        std::thread::Builder::new().name("spans".to_owned()).spawn(run)?;
        let settings = settings.clone();
        Ok(Arc::new(Self { settings, endpoint, queue, hurry, metrics, ended: Mutex::new(ended) }))
    }

    /// Whether it serves a collector with these settings behind this endpoint.
    pub fn is_for(&self, settings: &Otlp, endpoint: &Endpoint) -> bool {
        self.settings == *settings && *self.endpoint == *endpoint
    }

    /// Takes a request that has ended.
    pub(super) fn take(&self, request: RequestSpan) {
        if self.queue.try_send(request).is_err() {
            self.metrics.spans.not_taken.add(1);
        } else if self.queue.capacity() == MOST_WAITING - PLENTY {
            self.hurry.plenty.notify_one();
        }
    }

    /// Has all that waits delivered, and waits for that, but no longer than `limit`; it takes nothing any more.
    pub fn finish(&self, limit: Duration) {
        self.hurry.finish.notify_one();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // an error says that it has ended, or that it takes too long
        let _ = ended.recv_timeout(limit);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // nothing more will come
        self.hurry.finish.notify_one();
    }
}

/// The thread's half.
struct Gathering {
    waiting: mpsc::Receiver<RequestSpan>,
    hurry: Arc<Hurry>,
}

impl Gathering {
    async fn run(mut self, mut delivery: Delivery) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                return;
            }
            delivery.deliver(&batch).await;
        }
    }

    /// The next requests; none once there will be no more.
    async fn gather(&mut self) -> Vec<RequestSpan> {
        let mut batch = Vec::new();
        let taken = select! {
            biased;
            taken = self.waiting.recv_many(&mut batch, PLENTY) => taken,
            () = self.hurry.finish.notified() => {
                self.waiting.close();
                self.waiting.recv_many(&mut batch, PLENTY).await
            }
        };
        if taken > 0 && taken < PLENTY && !self.waiting.is_closed() {
            select! {
                () = sleep(GATHERING) => {}
                () = self.hurry.plenty.notified() => {}
                () = self.hurry.finish.notified() => self.waiting.close(),
            }
            while batch.len() < PLENTY
                && let Ok(request) = self.waiting.try_recv()
            {
                batch.push(request);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::SystemTime};

    use actix_http::{Method, Uri, Version};

    use super::*;
    use crate::{
        client::KeepAlive,
        settings::{Scheme, Tracing},
        spans::{End, RequestSpan},
        trace::{Trace, new_span},
    };

    fn request() -> RequestSpan {
        let tracing = Tracing { propagate: true, sample: Some(1.0), otlp: None };
        RequestSpan {
            trace: Trace::begin(&actix_http::header::HeaderMap::new(), &tracing, SystemTime::now()).unwrap(),
            step: new_span(),
            begun: SystemTime::now(),
            scheme: Scheme::Http,
            version: Version::HTTP_11,
            method: Method::GET,
            uri: Uri::from_static("/"),
            peer: None,
            route: None,
            calls: Vec::new(),
            end: End::default(),
        }
    }

    #[test]
    fn what_a_stuck_collector_leaves_is_bounded_and_the_rest_is_dropped_and_counted() {
        // its connections are taken by the system, and nobody ever answers
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = collector.local_addr().unwrap();
        let settings = Otlp {
            endpoint: crate::settings::FunctionUri::parse(&format!("http://{address}")).unwrap(),
            headers: Vec::new(),
            service_name: String::new(),
            resource: std::collections::BTreeMap::new(),
            timeout: Duration::from_mins(1),
            ca_certificate: None,
        };
        let endpoint = Endpoint {
            host: address.ip().to_string(),
            port: address.port(),
            tls: None,
            proxy: None,
            connect_timeout: Duration::from_mins(1),
            keepalive: KeepAlive { enabled: false, pool: 0, timeout: Duration::ZERO },
        };
        let metrics = Metrics::new().unwrap();
        let exporter = Exporter::start(&settings, Arc::new(endpoint), Arc::clone(&metrics)).unwrap();
        let most = (MOST_WAITING + PLENTY) as u64;
        for _ in 0..most {
            exporter.take(request());
        }
        for _ in 0..100 {
            exporter.take(request());
        }
        // one delivery may have begun, or not yet
        let dropped = metrics.spans.not_taken.get();
        assert!((100..=100 + PLENTY as u64).contains(&dropped), "{dropped}");
        exporter.finish(Duration::from_millis(5));
        assert_eq!(metrics.spans.delivered.get() + metrics.spans.refused.get(), 0);
    }
}
