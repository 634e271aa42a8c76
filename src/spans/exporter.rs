//! The exporter: a queue that the workers push spans to, and the thread that sends them.
//!
//! `state/builder.rs` starts an exporter for a collector and keeps it while its settings stay the same.
//! Workers never wait: the queue has room for [`MOST_BYTES`], and further spans are dropped and counted. When
//! the exporter is dropped or the process ends, it has [`LAST`] to flush the queue.

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

/// Bytes in the queue, enough for thousands of requests.
const MOST_BYTES: usize = 4 << 20;
/// Requests in one delivery; the queue is sent as soon as it has so many.
const PLENTY: usize = 512;
/// The longest time that a request waits for a full delivery.
const GATHERING: Duration = Duration::from_secs(1);
/// Time limit of the last deliveries.
const LAST: Duration = Duration::from_secs(2);

/// The workers' side of the exporter.
pub struct Exporter {
    settings: Otlp,
    endpoint: Arc<Endpoint>,
    queue: mpsc::UnboundedSender<RequestSpan>,
    shared: Arc<SpanQueue>,
    thread: Thread,
    /// Resolves when the thread has ended.
    ended: CancellationToken,
}

/// The queue and its counters.
struct SpanQueue {
    metrics: Arc<Metrics>,
    /// Bytes in the queue.
    bytes: AtomicUsize,
    /// Requests in the queue or in a delivery.
    undelivered: AtomicU64,
    /// Signals that there are enough requests for a delivery.
    plenty: Notify,
    /// No more requests will be pushed.
    finish: CancellationToken,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Exporter {
    /// Starts the thread for the collector at `endpoint`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(settings: &Otlp, endpoint: Arc<Endpoint>, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let (queue, waiting) = mpsc::unbounded_channel();
        let shared = Arc::new(SpanQueue {
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
                let mut gathering = BatchSender { waiting, shared: Arc::clone(&shared), in_delivery: 0 };
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

    /// True if the exporter has these settings and this endpoint.
    pub fn is_for(&self, settings: &Otlp, endpoint: &Endpoint) -> bool {
        self.settings == *settings && *self.endpoint == *endpoint
    }

    /// Queues a completed request.
    pub(super) fn take(&self, request: RequestSpan) {
        let shared = &self.shared;
        let weight = request.weight();
        if shared.bytes.fetch_add(weight, Ordering::Relaxed) + weight > MOST_BYTES {
            shared.bytes.fetch_sub(weight, Ordering::Relaxed);
            shared.metrics.spans.recorded.dropped.add(1);
            return;
        }
        let waiting = shared.undelivered.fetch_add(1, Ordering::Relaxed) + 1;
        // an error means that the process ends
        let _ = self.queue.send(request);
        if waiting == PLENTY as u64 {
            shared.plenty.notify_one();
        }
    }

    fn end(&self) {
        self.shared.finish.cancel();
        // a thread that waits for a restart is not restarted
        self.thread.unpark();
    }

    /// Flushes the queue within two seconds, and accepts nothing more.
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

/// The thread's side.
struct BatchSender {
    waiting: mpsc::UnboundedReceiver<RequestSpan>,
    shared: Arc<SpanQueue>,
    /// Requests in the current delivery.
    in_delivery: u64,
}

impl BatchSender {
    /// One run of the thread. If it panics, the current delivery is lost and the queue is left to the next
    /// run.
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

    /// Counts the requests that were not delivered before the end.
    fn drop_rest(&self) {
        let lost = self.shared.undelivered.load(Ordering::Relaxed);
        if lost > 0 {
            self.shared.metrics.spans.recorded.dropped.add(lost);
            log::warn!("tracing.otlp: shutting down, dropped the spans of {lost} requests");
        }
    }

    /// The next requests. Closes a connection that is idle for too long in the meantime.
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

    /// The next requests; empty at the end.
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
            client_ip: None,
            route: None,
            calls: Vec::new(),
            end: SpanEnd::default(),
        }
    }

    #[test]
    fn a_long_path_is_truncated_and_the_size_of_a_span_includes_its_texts() {
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
            listed: None,
        };
        Exporter::start(&settings, Arc::new(endpoint), Arc::clone(metrics)).unwrap()
    }

    #[test]
    fn an_idle_connection_to_the_collector_is_closed() {
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
    fn with_a_stuck_collector_the_queue_is_bounded_and_dropped_spans_are_counted() {
        // the system accepts connections, and no response ever comes
        let collector = TcpListener::bind("127.0.0.1:0").unwrap();
        let keepalive = KeepAlive { enabled: false, pool: 0, timeout: Duration::ZERO };
        let metrics = Metrics::new();
        let exporter = exporter(collector.local_addr().unwrap(), &metrics, keepalive);
        let most = (MOST_BYTES / request().weight() + PLENTY) as u64;
        for _ in 0..most + 100 {
            exporter.take(request());
        }
        // one delivery may have started
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
