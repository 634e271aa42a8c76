//! A sidecar in this process, on a free port of the loopback interface.

use std::{collections::BTreeMap, net::SocketAddr, thread::JoinHandle};

use apigw_invoker::{
    app::Application,
    settings::{Document, Settings},
};
use tokio::sync::oneshot;

/// The sidecar, stopped when dropped.
pub struct Sidecar {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sidecar {
    /// Starts a sidecar with these limits and these routes (name and settings).
    pub fn start(limits: &str, routes: &[(String, String)]) -> Self {
        let process = format!(
            "listen: {{ http: '127.0.0.1:0', h2c: true }}\nadmin: {{ address: '127.0.0.1:0' }}\nworkers: 1\n\
             limits: {{ {limits} }}\nlog: {{ level: debug }}\n"
        );
        let mut documents = vec![Document::process(process)];
        documents.extend(routes.iter().map(|(name, text)| Document::route(name, text)));
        let settings = Settings::from_documents(&documents, &BTreeMap::new());
        let settings = settings.map_err(|mistakes| mistakes.to_string()).expect("the settings are valid");
        let application = Application::build(settings).expect("the sidecar starts");
        let address = application.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let stop = async move { drop(stopped.await) };
                Box::pin(application.run(stop, std::future::pending())).await.expect("the sidecar runs");
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
