//! The thread that gathers spans and has them delivered, and what the workers hand them over to.
//!
//! `state/builder.rs` starts one for a collector and keeps it while its settings stay the same. Nobody waits for it:
//! there is room for [`MOST_BYTES`], and what comes beyond is dropped and counted. Once nobody has it any more, or
//! the process ends, it has [`LAST`] to deliver what it has.

use std::{
    fmt, io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use tokio::{
    select,
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{RequestSpan, delivery::Delivery};
use crate::{
    client::Endpoint,
    metrics::Metrics,
    settings::Otlp,
    system::{
        fault_points,
        supervision::{self, Task, TaskEnd, supervise_thread},
    },
};

/// What may wait, thousands of requests.
const MOST_BYTES: usize = 4 << 20;
/// The requests that are delivered at once; as many make a delivery worth while.
const PLENTY: usize = 512;
/// How long a request waits for others to be delivered with it.
const GATHERING: Duration = Duration::from_secs(1);
/// How long the last deliveries may take.
const LAST: Duration = Duration::from_secs(2);

/// Where recorded requests are handed over.
pub struct Exporter {
    settings: Otlp,
    endpoint: Arc<Endpoint>,
    queue: mpsc::UnboundedSender<RequestSpan>,
    shared: Arc<Shared>,
    thread: Thread,
    /// The thread has ended.
    ended: CancellationToken,
}

/// What both sides look at.
struct Shared {
    metrics: Arc<Metrics>,
    /// Bytes that wait.
    bytes: AtomicUsize,
    /// Requests that wait or are being delivered.
    undelivered: AtomicU64,
    /// There are enough for a delivery.
    plenty: Notify,
    /// There will be no more.
    finish: CancellationToken,
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
        let (queue, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            metrics: Arc::clone(&metrics),
            bytes: AtomicUsize::new(0),
            undelivered: AtomicU64::new(0),
            plenty: Notify::new(),
            finish: CancellationToken::new(),
        });
        let ended = CancellationToken::new();
        let run = {
            let (settings, endpoint, shared) = (settings.clone(), Arc::clone(&endpoint), Arc::clone(&shared));
            let ends = ended.clone().drop_guard();
            move || {
                let _ends = ends;
                let is_over = || shared.finish.is_cancelled();
                let mut gathering = Gathering { waiting, shared: Arc::clone(&shared), in_delivery: 0 };
                supervise_thread(Task::Exporter, is_over, || {
                    gathering.run_on_runtime(|| {
                        Delivery::new(&settings, Arc::clone(&endpoint), Arc::clone(&metrics))
                    })
                });
                gathering.drop_rest();
            }
        };
        let thread = std::thread::Builder::new().name("spans".to_owned()).spawn(run)?.thread().clone();
        Ok(Arc::new(Self { settings: settings.clone(), endpoint, queue, shared, thread, ended }))
    }

    /// Whether it serves a collector with these settings behind this endpoint.
    pub fn is_for(&self, settings: &Otlp, endpoint: &Endpoint) -> bool {
        self.settings == *settings && *self.endpoint == *endpoint
    }

    /// Takes a request that has ended.
    pub(super) fn take(&self, request: RequestSpan) {
        let shared = &self.shared;
        let weight = request.weight();
        if shared.bytes.fetch_add(weight, Ordering::Relaxed) + weight > MOST_BYTES {
            shared.bytes.fetch_sub(weight, Ordering::Relaxed);
            shared.metrics.spans.recorded.dropped.add(1);
            return;
        }
        let waiting = shared.undelivered.fetch_add(1, Ordering::Relaxed) + 1;
        // an error says that the process ends
        let _ = self.queue.send(request);
        if waiting == PLENTY as u64 {
            shared.plenty.notify_one();
        }
    }

    fn end(&self) {
        self.shared.finish.cancel();
        // a thread that waits to start again need not
        self.thread.unpark();
    }

    /// Has all that waits delivered, as far as that takes no longer than two seconds; it takes nothing any more.
    pub async fn finish(&self) {
        self.end();
        self.ended.cancelled().await;
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's half.
struct Gathering {
    waiting: mpsc::UnboundedReceiver<RequestSpan>,
    shared: Arc<Shared>,
    /// Requests that are being delivered.
    in_delivery: u64,
}

impl Gathering {
    /// One run of the thread. What was being delivered when it ends is lost, what waits is left to the next.
    fn run_on_runtime(&mut self, delivery: impl FnOnce() -> Delivery) -> TaskEnd {
        let shared = Arc::clone(&self.shared);
        let end = supervision::run_on_runtime(&shared.finish, None, async |_| {
            self.run(delivery()).await;
            Ok(())
        });
        if !self.shared.finish.is_cancelled() {
            let lost = std::mem::take(&mut self.in_delivery);
            self.shared.undelivered.fetch_sub(lost, Ordering::Relaxed);
            self.shared.metrics.spans.recorded.dropped.add(lost);
        }
        end
    }

    async fn run(&mut self, mut delivery: Delivery) {
        let shared = Arc::clone(&self.shared);
        let all = async {
            loop {
                let batch = self.next(&mut delivery).await;
                if batch.is_empty() {
                    return;
                }
                fault_points::pass("exporter");
                delivery.deliver(&batch).await;
                shared.undelivered.fetch_sub(self.in_delivery, Ordering::Relaxed);
                self.in_delivery = 0;
            }
        };
        let too_late = async {
            shared.finish.cancelled().await;
            sleep(LAST).await;
        };
        select! {
            () = all => {}
            () = too_late => {}
        }
    }

    /// Counts what was not delivered before the end.
    fn drop_rest(&self) {
        let lost = self.shared.undelivered.load(Ordering::Relaxed);
        if lost > 0 {
            self.shared.metrics.spans.recorded.dropped.add(lost);
            log::warn!("tracing.otlp: shutting down, dropped the spans of {lost} requests");
        }
    }

    /// The next requests. A connection that has waited long for them is closed.
    async fn next(&mut self, delivery: &mut Delivery) -> Vec<RequestSpan> {
        let mut gathering = pin!(self.gather());
        match timeout(delivery.keeps_connection_for(), gathering.as_mut()).await {
            Ok(requests) => requests,
            Err(_) => {
                delivery.rest();
                gathering.await
            }
        }
    }

    /// The next requests; none once there will be no more.
    async fn gather(&mut self) -> Vec<RequestSpan> {
        let mut batch = Vec::new();
        let taken = select! {
            biased;
            taken = self.waiting.recv_many(&mut batch, PLENTY) => taken,
            () = self.shared.finish.cancelled() => {
                self.waiting.close();
                self.waiting.recv_many(&mut batch, PLENTY).await
            }
        };
        if taken > 0 && taken < PLENTY {
            select! {
                () = sleep(GATHERING) => {}
                () = self.shared.plenty.notified() => {}
                () = self.shared.finish.cancelled() => {}
            }
            while batch.len() < PLENTY
                && let Ok(request) = self.waiting.try_recv()
            {
                batch.push(request);
            }
        }
        self.in_delivery = batch.len() as u64;
        let bytes = batch.iter().map(RequestSpan::weight).sum();
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener},
        time::SystemTime,
    };

    use actix_http::{Method, Version};

    use super::*;
    use crate::{
        client::KeepAlive,
        message::trace::{Trace, new_span},
        settings::{Scheme, Tracing},
        spans::{RequestSpan, SpanEnd},
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
            path: "/".into(),
            state: String::new(),
            peer: None,
            route: None,
            calls: Vec::new(),
            end: SpanEnd::default(),
        }
    }

    #[test]
    fn a_long_path_is_cut_and_what_waits_is_as_heavy_as_it_is_long() {
        let mut long = request();
        long.path = "x".repeat(1000).into();
        assert_eq!(long.weight(), request().weight() + 999);
    }

    fn exporter(address: SocketAddr, metrics: &Arc<Metrics>, keepalive: KeepAlive) -> Arc<Exporter> {
        let settings = Otlp {
            endpoint: crate::settings::FunctionUri::parse(&format!("http://{address}")).unwrap(),
            headers: Vec::new(),
            service_name: String::new(),
            resource: std::collections::BTreeMap::new(),
            timeout: Duration::from_mins(1),
            ca_certificate: None,
            proxy: crate::settings::ProxyChoice::Direct(crate::settings::Direct::NotSet),
        };
        let endpoint = Endpoint {
            host: address.ip().to_string(),
            port: address.port(),
            tls: None,
            proxy: None,
            connect_timeout: Duration::from_mins(1),
            keepalive,
        };
        Exporter::start(&settings, Arc::new(endpoint), Arc::clone(metrics)).unwrap()
    }

    #[test]
    fn a_connection_that_has_waited_long_for_a_delivery_is_closed() {
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let keepalive = KeepAlive { enabled: true, pool: 1, timeout: Duration::from_millis(100) };
        let metrics = Metrics::new();
        let exporter = exporter(collector.local_addr().unwrap(), &metrics, keepalive);
        exporter.take(request());
        let (mut connection, _) = collector.accept().unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut read = [0; 4096];
        assert!(connection.read(&mut read).unwrap() > 0);
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        while connection.read(&mut read).unwrap() > 0 {}
        assert_eq!(metrics.spans.recorded.delivered.get(), 1);
    }

    #[test]
    fn what_a_stuck_collector_leaves_is_bounded_and_the_rest_is_dropped_and_counted() {
        // its connections are taken by the system, and nobody ever answers
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let keepalive = KeepAlive { enabled: false, pool: 0, timeout: Duration::ZERO };
        let metrics = Metrics::new();
        let exporter = exporter(collector.local_addr().unwrap(), &metrics, keepalive);
        let most = (MOST_BYTES / request().weight() + PLENTY) as u64;
        for _ in 0..most + 100 {
            exporter.take(request());
        }
        // one delivery may have begun, or not yet
        let dropped = metrics.spans.recorded.dropped.get();
        assert!((100..=101 + PLENTY as u64).contains(&dropped), "{dropped}");
        assert!(exporter.shared.bytes.load(Ordering::Relaxed) <= MOST_BYTES);
        let begun = std::time::Instant::now();
        actix_rt::System::new().block_on(exporter.finish());
        assert!(begun.elapsed() < LAST * 4, "{:?}", begun.elapsed());
        assert_eq!(metrics.spans.recorded.delivered.get() + metrics.spans.recorded.refused.get(), 0);
        assert_eq!(
            metrics.spans.recorded.dropped.get(),
            most + 100,
            "what is lost at the end is counted too"
        );
    }
}
