//! How long does an instance of the component live, and what runs it? As long as Spin's, on Spin's engine.

use std::future::{Future, pending};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Result, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader, duplex};
use tokio::time::{Sleep, sleep};
use wasmtime::component::{Component, GuestTaskId, HasSelf, Linker, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store, StoreContextMut};
use wasmtime_wasi::cli::AsyncStdoutStream;
use wasmtime_wasi::{FsPerms, WasiCtx};
use wasmtime_wasi_http::handler::{HandlerState, Instance, Proxy, ShouldAccept};
use wasmtime_wasi_http::handler::{WorkerExpiration, WorkerState, WorkerStatus};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpView as _, p3::bindings::ServicePre};

use crate::guest::{Guest, Shared};
use crate::outbound::{Outbound, client};
use crate::{bindings, key_value, manifest::Application};

/// What `spin up` is told of an application.
pub struct Start {
    /// The application.
    pub application: Application,
    /// Where the SQLite database and the key-value store are kept.
    pub state_dir: PathBuf,
    /// What the key-value store starts with.
    pub key_values: Vec<(String, String)>,
    /// Whether what the component prints is dropped.
    pub quiet: bool,
}

/// Makes instances of the component.
pub(crate) struct Instances {
    component: ServicePre<Guest>,
    shared: Arc<Shared>,
}

impl Instances {
    /// Compiles the component, mounts its files and opens its stores.
    pub(crate) fn prepare(Start { application, state_dir: state, key_values, quiet }: Start) -> Result<Self> {
        let engine = engine()?;
        let component = Component::from_file(&engine, &application.source)?;
        let component = ServicePre::new(linker(&engine)?.instantiate_pre(&component)?)?;
        let root = state.join("files");
        fs::create_dir_all(&root)?;
        for mount in &application.files {
            let to = root.join(mount.destination.strip_prefix("/")?);
            fs::create_dir_all(to.parent().unwrap_or(&root))?;
            let copied = Command::new("cp").arg("-rT").arg(&mount.source).arg(to).status()?;
            ensure!(copied.success(), "`{}` cannot be mounted", mount.source.display());
        }
        let store = key_value::Store::open(&state.join("sqlite_key_value.db"))?;
        key_values.iter().try_for_each(|(key, value)| store.put(key, value.as_bytes()))?;
        let database = state.join("sqlite_db.db");
        let shared = Shared { application, client: client(), database, store, root, quiet };
        Ok(Self { component, shared: Arc::new(shared) })
    }
}

impl HandlerState for Instances {
    type StoreData = Guest;
    type WorkerExpiration = Idle;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Idle, Reuse>> {
        let mut wasi = WasiCtx::builder();
        wasi.preopened_dir(&self.shared.root, "/", FsPerms::ReadOnly)?;
        if !self.shared.quiet {
            wasi.stdout(lines()).stderr(lines());
        }
        let (shared, table, http) = (self.shared.clone(), ResourceTable::new(), WasiHttpCtx::new());
        let outbound = Outbound(shared.clone());
        let guest = Guest { shared, table, wasi: wasi.build(), http, outbound };
        let mut store = Store::new(self.component.engine(), guest);
        let proxy = Proxy::P3(self.component.instantiate_async(&mut store).await?);
        let expiration = Idle(Box::pin(sleep(IDLE)));
        Ok(Instance { store, proxy, view: Guest::http, expiration, state: Reuse })
    }
}

/// When an instance did nothing for too long.
pub(crate) struct Idle(Pin<Box<Sleep>>);

impl WorkerExpiration for Idle {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, state: WorkerStatus, since: Instant) -> Poll<()> {
        let deadline = (since + IDLE).into();
        if self.0.deadline() != deadline {
            self.0.as_mut().reset(deadline);
        }
        if state == WorkerStatus::Idle { self.0.as_mut().poll(cx) } else { Poll::Pending }
    }
}

/// How many requests an instance serves, and what becomes of it.
pub(crate) struct Reuse;

type Never = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

impl WorkerState for Reuse {
    type StoreData = Guest;
    type RequestData = ();

    fn should_accept_request(&self, at_once: usize, in_all: usize) -> ShouldAccept {
        match (at_once, in_all) {
            (_, 128..) => ShouldAccept::Never,
            (16.., _) => ShouldAccept::No,
            _ => ShouldAccept::Yes,
        }
    }

    fn on_request_start(&self, _: StoreContextMut<'_, Guest>, (): (), _: GuestTaskId) -> Never {
        Box::pin(pending())
    }

    fn drop(&self, _: Store<Guest>, ended: wasmtime::Result<()>) {
        if let Err(error) = ended {
            eprintln!("an instance failed: {}", error.root_cause());
        }
    }
}

fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    if let Some(folder) = env::var_os("TURNPIKE_SPIN_CACHE") {
        fs::create_dir_all(&folder)?;
        let mut cache = CacheConfig::new();
        cache.with_directory(fs::canonicalize(folder)?);
        config.cache(Some(Cache::new(cache)?));
    }
    Ok(Engine::new(&config)?)
}

fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    bindings::Spin::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

/// Prints whole lines, so that those of several instances do not mix.
fn lines() -> AsyncStdoutStream {
    let (component, host) = duplex(65_536);
    tokio::spawn(async move {
        let mut lines = BufReader::new(host).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{line}");
        }
    });
    AsyncStdoutStream::new(65_536, component)
}

const IDLE: Duration = Duration::from_secs(1);
