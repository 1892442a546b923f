//! What does an instance of the component run on, and how long? On what Spin offers, as long as Spin keeps one.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{env, fs, future};

use tokio::{io::stderr, time::Sleep, time::sleep};
use wasmtime::component::{Accessor, Component, GuestTaskId, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, Engine, Result, Store, StoreContextMut};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{HandlerState, Instance, Proxy, ShouldAccept};
use wasmtime_wasi_http::handler::{WorkerExpiration, WorkerState, WorkerStatus};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, p3::bindings::ServicePre};

use crate::bindings::{Spin, spin::variables::variables};
use crate::manifest::{Application, is_name};
use crate::requests::{Client, Outbound, client};
use crate::stores::Documents;

pub(crate) struct Shared {
    pub(crate) application: Application,
    pub(crate) client: Client,
    pub(crate) database: PathBuf,
    pub(crate) documents: Documents,
    quiet: bool,
}

pub(crate) struct Guest {
    pub(crate) table: ResourceTable,
    shared: Arc<Shared>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
}

pub(crate) fn shared<T>(guest: &Accessor<T, HasSelf<Guest>>) -> Arc<Shared> {
    guest.with(|mut guest| guest.get().shared.clone())
}

/// What a handle of the component stands for.
pub(crate) fn resource<T, R: Clone + Send>(guest: &Accessor<T, HasSelf<Guest>>, of: &Resource<R>) -> Result<R> {
    Ok(guest.with(|mut guest| guest.get().table.get(of).cloned())?)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

impl variables::Host for Guest {}

impl<T> variables::HostWithStore<T> for HasSelf<Guest> {
    async fn get(guest: &Accessor<T, Self>, name: String) -> Result<Result<String, variables::Error>> {
        let missing = if is_name(&name) { variables::Error::Undefined } else { variables::Error::InvalidName };
        Ok(shared(guest).application.variables.get(&name).cloned().ok_or_else(|| missing(name)))
    }
}

pub(crate) struct Instances(ServicePre<Guest>, Arc<Shared>);

impl Instances {
    /// The key-value store starts with `entries`. If `quiet`, nothing that the component prints is seen.
    pub(crate) fn prepare(of: Application, state: &Path, entries: &[(String, String)], quiet: bool) -> Result<Self> {
        let component = compiled(&of.source)?;
        fs::create_dir_all(state)?;
        let documents = Documents::open(&state.join("sqlite_key_value.db"))?;
        entries.iter().try_for_each(|(key, value)| documents.set(key, value.as_bytes()))?;
        let (client, database) = (client(), state.join("sqlite_db.db"));
        Ok(Self(component, Arc::new(Shared { application: of, client, database, documents, quiet })))
    }
}

impl HandlerState for Instances {
    type StoreData = Guest;
    type WorkerExpiration = Idle;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> Result<Instance<Guest, Idle, Reuse>> {
        let Self(component, shared) = self;
        let mut wasi = WasiCtx::builder();
        for mount in &shared.application.files {
            wasi.preopened_dir(&mount.source, &mount.destination, FsPerms::ReadOnly)?;
        }
        if !shared.quiet {
            wasi.stdout(stderr()).stderr(stderr());
        }
        let (table, http, outbound) = (ResourceTable::new(), WasiHttpCtx::new(), Outbound(shared.clone()));
        let guest = Guest { table, shared: shared.clone(), wasi: wasi.build(), http, outbound };
        let mut store = Store::new(component.engine(), guest);
        let proxy = Proxy::P3(component.instantiate_async(&mut store).await?);
        Ok(Instance { store, proxy, view: Guest::http, expiration: Idle(Box::pin(sleep(IDLE))), state: Reuse })
    }
}

pub(crate) struct Idle(Pin<Box<Sleep>>);

impl WorkerExpiration for Idle {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, state: WorkerStatus, since: Instant) -> Poll<()> {
        if self.0.deadline() != (since + IDLE).into() {
            self.0.as_mut().reset((since + IDLE).into());
        }
        if state == WorkerStatus::Idle { self.0.as_mut().poll(cx) } else { Poll::Pending }
    }
}

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
        Box::pin(future::pending())
    }

    fn drop(&self, _: Store<Guest>, ended: Result<()>) {
        let _ = ended.inspect_err(|error| eprintln!("an instance failed: {}", error.root_cause()));
    }
}

fn compiled(source: &Path) -> Result<ServicePre<Guest>> {
    let mut config = Config::new();
    if let Some(folder) = env::var_os("TURNPIKE_SPIN_CACHE") {
        fs::create_dir_all(&folder)?;
        let mut cache = CacheConfig::new();
        cache.with_directory(fs::canonicalize(folder)?);
        config.cache(Some(Cache::new(cache)?));
    }
    let engine = Engine::new(config.wasm_component_model_async(true))?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Spin::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    ServicePre::new(linker.instantiate_pre(&Component::from_file(&engine, source)?)?)
}

const IDLE: Duration = Duration::from_secs(1);
