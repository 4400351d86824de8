//! Over the NBD export, as any client.

use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::config::Listen;
use crate::shell::clock;
use crate::shell::nbd_client::{Address, Client, ClientConfig, IoError};

use super::places::Places;
use super::{BenchError, PROGRESS, Tally, Workload, check_block, seed};

/// What is written comes from a pool of so many random bytes, so that it neither compresses nor repeats soon.
const POOL: usize = 8 << 20;

/// Runs the workload on the export `name` at `address`; `progress` is called now and then.
///
/// `tally` holds what came of it, after an error too.
///
/// # Errors
/// No connection, a workload that does not fit, or the first request that failed.
pub async fn over_export(
    address: &Listen,
    name: &str,
    tally: &mut Tally,
    mut progress: impl FnMut(&Tally),
) -> Result<(), BenchError> {
    let workload = *tally.workload();
    let client = Client::connect(ClientConfig {
        export: name.to_owned(),
        ..ClientConfig::new(resolve(address).await?)
    })
    .await?;
    let export = client.export();
    let most = u64::from(export.payload_max).min(export.size);
    check_block(&workload, export.block_size_min, most)?;
    if workload.write && export.is_read_only() {
        return Err(BenchError::ReadOnly);
    }
    let seed = seed()?;
    let mut places = Places::new(export.size, workload.block, workload.sequential, seed);
    let pool = if workload.write {
        pool()?
    } else {
        Bytes::new()
    };
    let mut running = FuturesUnordered::new();
    let began = clock::now();
    let (end, mut next_progress) = (began + workload.time, began + PROGRESS);
    loop {
        while running.len() < workload.depth && clock::now() < end {
            running.push(one(&client, &workload, places.next(), &pool));
        }
        let due = tokio::time::sleep_until(next_progress.into());
        tokio::select! { biased;
            done = running.next() => match done {
                Some(Ok(took)) => tally.add(took),
                Some(Err(error)) => return Err(error),
                None => break,
            },
            () = due => {}
        }
        let now = clock::now();
        tally.set_elapsed(now - began);
        if now >= next_progress {
            next_progress = now + PROGRESS;
            progress(tally);
        }
    }
    if workload.write {
        let failed = |error| BenchError::Request { offset: 0, error };
        client.flush().await.map_err(failed)?;
    }
    Ok(())
}

async fn one(
    client: &Client,
    workload: &Workload,
    offset: u64,
    pool: &Bytes,
) -> Result<std::time::Duration, BenchError> {
    let sent: Instant = clock::now();
    let done: Result<(), IoError> = if workload.write {
        client
            .write(offset, content(pool, offset, workload.block), false)
            .await
    } else {
        client.read(offset, workload.block).await.map(drop)
    };
    done.map_err(|error| BenchError::Request { offset, error })?;
    Ok(clock::now() - sent)
}

/// Random bytes, other ones for each place near by.
fn content(pool: &Bytes, offset: u64, length: u32) -> Bytes {
    let length = length as usize;
    if length > pool.len() {
        // Beyond the pool's size it repeats.
        return pool.iter().copied().cycle().take(length).collect();
    }
    let room = (pool.len() - length) as u64 / 512 + 1;
    let start = usize::try_from(offset / 512 % room * 512).unwrap_or(0);
    pool.slice(start..start + length)
}

fn pool() -> Result<Bytes, BenchError> {
    let mut pool = vec![0; POOL];
    getrandom::fill(&mut pool).map_err(BenchError::Random)?;
    Ok(pool.into())
}

async fn resolve(address: &Listen) -> Result<Address, BenchError> {
    let (host, port) = match address {
        Listen::Unix(path) => return Ok(Address::Unix(path.clone())),
        Listen::Tcp { host, port } => (host, *port),
    };
    let failed = |error| BenchError::Resolve {
        host: host.clone(),
        error,
    };
    let mut found = tokio::net::lookup_host((host.as_str(), port))
        .await
        .map_err(failed)?;
    let none = || failed(std::io::ErrorKind::NotFound.into());
    found.next().map(Address::Tcp).ok_or_else(none)
}
