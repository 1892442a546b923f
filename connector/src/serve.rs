//! How does the connector run, and how does it stop?

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Settings;
use crate::fleet::Fleet;
use crate::http::{Reach, app};

/// Serves until SIGTERM or SIGINT, then ends every session.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(settings: Settings) -> io::Result<()> {
    let Settings { listen, secret, limits, servers, .. } = settings;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on `{listen}`: {error}; choose another port with --port"))
    })?;
    let address = listener.local_addr()?;
    let names: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
    let fleet = Arc::new(Fleet::new(servers, limits));
    let reach = if address.ip().is_loopback() { Reach::Loopback } else { Reach::Beyond };
    let stop = CancellationToken::new();
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let app = app(Arc::clone(&fleet), limits, secret, reach);
    let serving =
        tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future());
    info!(%address, ?names, "serving");
    announce(&names.iter().map(|name| format!("http://{address}/{name}/mcp")).collect::<Vec<_>>());

    told_to_stop(&mut terminate, &mut interrupt).await;
    info!("stopping; a second signal stops at once");
    stop.cancel();
    let ended = async {
        if timeout(limits.shutdown_grace * 2 + LAST_MOMENTS, fleet.shut_down()).await.is_err() {
            warn!("a server is still ending; its warden stays until it is gone");
        }
        if timeout(LAST_MOMENTS, serving).await.is_err() {
            warn!("a connection is still open");
        }
    };
    tokio::select! {
        () = ended => info!("stopped"),
        () = told_to_stop(&mut terminate, &mut interrupt) => warn!("stopped at once; the wardens end the servers"),
    }
    Ok(())
}

/// One line per server on the standard output, then `ready`: what a script waits for.
fn announce(urls: &[String]) {
    let mut stdout = io::stdout().lock();
    for url in urls {
        let _ = writeln!(stdout, "{url}");
    }
    let _ = writeln!(stdout, "ready").and_then(|()| stdout.flush());
}

async fn told_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

const LAST_MOMENTS: Duration = Duration::from_secs(5);
