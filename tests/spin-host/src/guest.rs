//! What has an instance of the component of its own, and what do all share?

use std::{path::PathBuf, sync::Arc};

use wasmtime::component::{Accessor, HasSelf, Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::outbound::{Client, Outbound};
use crate::{key_value, manifest::Application};

pub(crate) struct Shared {
    pub(crate) application: Application,
    pub(crate) client: Client,
    pub(crate) database: PathBuf,
    pub(crate) store: key_value::Store,
    /// What the component sees as `/`.
    pub(crate) root: PathBuf,
    pub(crate) quiet: bool,
}

pub(crate) struct Guest {
    pub(crate) shared: Arc<Shared>,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) outbound: Outbound,
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

/// What a handle of the component stands for.
pub(crate) fn resource<T, R>(guest: &Accessor<T, HasSelf<Guest>>, handle: &Resource<R>) -> wasmtime::Result<R>
where
    R: Clone + Send,
{
    Ok(guest.with(|mut guest| guest.get().table.get(handle).cloned())?)
}
