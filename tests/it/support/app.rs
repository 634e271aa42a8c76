//! A running sidecar on a free port.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use apigw_invoker::{
    app::Application,
    dev::{self, DevSockets},
    settings::{Document, Environment, Settings},
    stand_in::{StandIn, StandInKeys, StandInOptions},
    state::snapshot::Snapshot,
};
use tokio::sync::oneshot;

/// The sidecar, stopped when dropped.
pub struct App {
    pub address: SocketAddr,
    pub https: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub snapshot: Arc<Snapshot>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    stand_in: Option<StandIn>,
}

/// Settings of a sidecar that is not started yet.
#[derive(Default)]
pub struct Builder {
    process: String,
    routes: Vec<Document>,
    environment: Environment,
}

impl App {
    /// Process settings with a free port, without routes.
    pub fn with(process: &str) -> Builder {
        Self::listening("", process)
    }

    /// The same with additional keys of `listen`.
    pub fn listening(listen: &str, process: &str) -> Builder {
        let listen = if listen.is_empty() { String::new() } else { format!(", {listen}") };
        Builder {
            process: format!(
                "listen: {{ http: '127.0.0.1:0'{listen} }}\nadmin: {{ address: '127.0.0.1:0' }}\n{process}"
            ),
            routes: Vec::new(),
            environment: Environment::new(),
        }
    }

    /// Process settings with a free port and additional keys of `admin`.
    pub fn administered(admin: &str) -> Builder {
        let process =
            format!("listen: {{ http: '127.0.0.1:0' }}\nadmin: {{ address: '127.0.0.1:0', {admin} }}\n");
        Builder { process, routes: Vec::new(), environment: Environment::new() }
    }

    /// A sidecar with one route from `/*` to `function_uri`.
    pub fn to(function_uri: &str) -> Self {
        Self::with("")
            .route("all", &format!("uri: /*\napi_gateway:\n  function_uri: {function_uri}\n"))
            .start()
    }

    /// The sidecar and the stand-in of `dev`.
    pub fn dev() -> Self {
        Self::dev_with(StandInOptions::new(StandInKeys::example()))
    }

    /// The sidecar of `dev` with the usual keys, and a stand-in with these options.
    pub fn dev_with(options: StandInOptions) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let stand_in = StandIn::start(any, options).expect("the stand-in starts");
        let mut documents = dev::documents(
            DevSockets { listen: any, admin: any },
            stand_in.address(),
            &StandInKeys::example(),
        );
        documents[0].text.push_str("log: { access: false }\n");
        let mut app = start(&documents, &Environment::new());
        app.stand_in = Some(stand_in);
        app
    }

    /// The same with the inspector of `dev`.
    pub fn dev_inspected(options: StandInOptions) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let stand_in = StandIn::start(any, options).expect("the stand-in starts");
        let sockets = DevSockets { listen: any, admin: any };
        let documents = dev::documents(sockets, stand_in.address(), &StandInKeys::example());
        let mut settings = settings(&documents, &Environment::new());
        settings.admin.inspect.get_or_insert_default();
        let mut app = run(settings, Application::allow_sending_again);
        app.stand_in = Some(stand_in);
        app
    }

    /// Address of the stand-in.
    pub fn stand_in(&self) -> SocketAddr {
        self.stand_in.as_ref().expect("this app has a stand-in").address()
    }

    /// Starts a shutdown, as SIGTERM does.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Builder {
    /// Replaces the process settings; the free port must be among them.
    pub fn replace_process(&mut self, process: &str) {
        process.clone_into(&mut self.process);
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a route.
    pub fn route(mut self, name: &str, text: &str) -> Self {
        self.routes.push(Document::route(name, text));
        self
    }

    /// Adds a route to API Gateway.
    pub fn gateway(self, name: &str, uri: &str, function_uri: &str, rest: &str) -> Self {
        let indented: String = rest.lines().map(|line| format!("  {line}\n")).collect();
        self.route(name, &format!("uri: '{uri}'\napi_gateway:\n  function_uri: {function_uri}\n{indented}"))
    }

    /// Adds a route to a function at a Lambda API without TLS. `function_name` is `MyLambda` unless `rest`
    /// has one.
    pub fn lambda(self, name: &str, uri: &str, api: SocketAddr, rest: &str) -> Self {
        let function = if rest.contains("function_name") { "" } else { "\nfunction_name: MyLambda" };
        let keys = format!(
            "host: {}\nport: {}\ndisable_https: true\naws_region: us-east-1\naws_key: AKIDEXAMPLE\n\
             aws_secret: s{function}\n{rest}",
            api.ip(),
            api.port()
        );
        let indented: String = keys.lines().map(|line| format!("  {line}\n")).collect();
        self.route(name, &format!("uri: '{uri}'\nlambda:\n{indented}"))
    }

    /// Starts the sidecar.
    pub fn start(self) -> App {
        let mut documents = vec![Document::process(self.process)];
        documents.extend(self.routes);
        start(&documents, &self.environment)
    }
}

fn start(documents: &[Document], environment: &Environment) -> App {
    run(settings(documents, environment), |_| {})
}

fn settings(documents: &[Document], environment: &Environment) -> Settings {
    Settings::from_documents(documents, environment).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn run(settings: Settings, ready: impl FnOnce(&Application)) -> App {
    let application = Application::build(settings).expect("the application starts");
    ready(&application);
    let (address, admin) = (application.address(), application.admin_address());
    let https = application.https_address();
    let snapshot = application.current().get();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        actix_rt::System::new().block_on(async {
            let stop = async move { drop(stopped.await) };
            Box::pin(application.run(stop, std::future::pending())).await.expect("the server runs");
        });
    });
    App { address, https, admin, snapshot, stop: Some(stop), thread: Some(thread), stand_in: None }
}
