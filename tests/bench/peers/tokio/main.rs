// Tokio on the rows of bench_runtime.c, bench_threads.c, bench_timers.c, bench_sockets.c and
// bench_memory.c. The scheduler's are Tokio's own benchmarks (benches/rt_multi_threaded.rs and
// remote_spawn.rs) but for the number of workers.
#[path = "../harness.rs"]
mod harness;

use harness::*;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{self, Runtime};
use tokio::sync::{oneshot, Notify};

fn rt(workers: usize) -> Runtime {
    match workers {
        0 => runtime::Builder::new_current_thread().enable_all().build().expect("runtime"),
        _ => runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_all()
            .build()
            .expect("runtime"),
    }
}

// ---- The scheduler ----

async fn spawn_many(tx: mpsc::SyncSender<()>, left: Arc<AtomicUsize>) {
    left.store(SPAWNS, SeqCst);
    for _ in 0..SPAWNS {
        let (tx, left) = (tx.clone(), left.clone());
        tokio::spawn(async move {
            if left.fetch_sub(1, SeqCst) == 1 {
                tx.send(()).expect("send");
            }
        });
    }
}

fn spawn_many_local(run: &Run) {
    let (rt, left) = (rt(run.count), Arc::new(AtomicUsize::new(0)));
    let (tx, rx) = mpsc::sync_channel(1000);
    run.iterations(|| {
        rt.block_on(async {
            spawn_many(tx.clone(), left.clone()).await;
            rx.recv().expect("recv");
        })
    });
}

fn spawn_in_worker(run: &Run) {
    let (rt, left) = (rt(run.count), Arc::new(AtomicUsize::new(0)));
    let (tx, rx) = mpsc::sync_channel(1000);
    run.iterations(|| {
        rt.spawn(spawn_many(tx.clone(), left.clone()));
        rx.recv().expect("recv");
    });
}

fn spawn_remote_and_join(run: &Run, rt: &Runtime, count: usize) {
    let mut handles = Vec::with_capacity(count);
    run.iterations(|| {
        for _ in 0..count {
            handles.push(rt.spawn(async {}));
        }
        rt.block_on(async {
            for handle in handles.drain(..) {
                handle.await.expect("join");
            }
        })
    });
}

fn remote_idle(run: &Run) {
    spawn_remote_and_join(run, &rt(run.count), SPAWNS);
}

fn remote_busy1(run: &Run) {
    let (rt, on) = (rt(run.count), Arc::new(AtomicBool::new(true)));
    for _ in 0..2 * run.count {
        let on = on.clone();
        rt.spawn(async move {
            while on.load(SeqCst) {
                tokio::task::yield_now().await;
                stall();
            }
        });
    }
    spawn_remote_and_join(run, &rt, SPAWNS);
    on.store(false, SeqCst);
}

fn busy_chain(on: Arc<AtomicBool>) {
    tokio::spawn(async move {
        if on.load(SeqCst) {
            stall();
            busy_chain(on);
        }
    });
}

// Of 1.24 the chains, which stay in the slot for the next task, let nothing else run, for ever.
fn give_up_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("the chains of busy tasks starve all others");
        std::process::exit(1);
    });
}

fn remote_busy2(run: &Run) {
    give_up_after(Duration::from_secs(5) + 2 * run.duration);
    let (rt, on) = (rt(run.count), Arc::new(AtomicBool::new(true)));
    let guard = rt.enter();
    for _ in 0..run.count {
        busy_chain(on.clone());
    }
    drop(guard);
    spawn_remote_and_join(run, &rt, BUSY2_SPAWNS);
    on.store(false, SeqCst);
}

fn yield_many(run: &Run) {
    let rt = rt(run.count);
    let (tx, rx) = mpsc::sync_channel(YIELDERS);
    run.iterations(|| {
        for _ in 0..YIELDERS {
            let tx = tx.clone();
            rt.spawn(async move {
                for _ in 0..YIELDS {
                    tokio::task::yield_now().await;
                }
                tx.send(()).expect("send");
            });
        }
        for _ in 0..YIELDERS {
            rx.recv().expect("recv");
        }
    });
}

fn ping_pong(run: &Run) {
    let (rt, left) = (rt(run.count), Arc::new(AtomicUsize::new(0)));
    let (done_tx, done_rx) = mpsc::sync_channel(1000);
    run.iterations(|| {
        let (done_tx, left) = (done_tx.clone(), left.clone());
        left.store(PAIRS, SeqCst);
        rt.block_on(async {
            tokio::spawn(async move {
                for _ in 0..PAIRS {
                    let (left, done_tx) = (left.clone(), done_tx.clone());
                    tokio::spawn(async move {
                        let (tx1, rx1) = oneshot::channel();
                        let (tx2, rx2) = oneshot::channel();
                        tokio::spawn(async move {
                            rx1.await.expect("recv");
                            tx2.send(()).expect("send");
                        });
                        tx1.send(()).expect("send");
                        rx2.await.expect("recv");
                        if left.fetch_sub(1, SeqCst) == 1 {
                            done_tx.send(()).expect("send");
                        }
                    });
                }
            });
            done_rx.recv().expect("recv");
        })
    });
}

fn chain(done: mpsc::SyncSender<()>, left: usize) {
    if left == 0 {
        done.send(()).expect("send");
    } else {
        tokio::spawn(async move { chain(done, left - 1) });
    }
}

fn chained_spawn(run: &Run) {
    let rt = rt(run.count);
    let (tx, rx) = mpsc::sync_channel(1000);
    run.iterations(|| {
        let tx = tx.clone();
        rt.block_on(async {
            tokio::spawn(async move { chain(tx, CHAIN) });
            rx.recv().expect("recv");
        })
    });
}

fn current_spawn(run: &Run) {
    let rt = rt(0);
    let mut handles = Vec::with_capacity(CURRENT_SPAWNS);
    run.iterations(|| {
        rt.block_on(async {
            for _ in 0..CURRENT_SPAWNS {
                handles.push(tokio::spawn(async {}));
            }
            for handle in handles.drain(..) {
                handle.await.expect("join");
            }
        })
    });
}

fn current_yield(run: &Run) {
    let (rt, left, done) = (rt(0), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    run.iterations(|| {
        left.store(YIELDERS, SeqCst);
        for _ in 0..YIELDERS {
            let (left, done) = (left.clone(), done.clone());
            rt.spawn(async move {
                for _ in 0..YIELDS {
                    tokio::task::yield_now().await;
                }
                if left.fetch_sub(1, SeqCst) == 1 {
                    done.notify_one();
                }
            });
        }
        rt.block_on(done.notified());
    });
}

fn remote_spawn(run: &Run) {
    let rt = rt(2);
    RemoteSpawns::measure(run, |spawns| drop(rt.spawn(async move { spawns.leaf() })));
}

fn cross_wake(run: &Run) {
    let (first, second) = (rt(1), rt(1));
    let (there, back) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    run.iterations(|| {
        let (there_2, back_2) = (there.clone(), back.clone());
        let pong = second.spawn(async move {
            for _ in 0..100 {
                there_2.notified().await;
                back_2.notify_one();
            }
        });
        let (there_1, back_1) = (there.clone(), back.clone());
        let ping = first.spawn(async move {
            for _ in 0..100 {
                there_1.notify_one();
                back_1.notified().await;
            }
        });
        first.block_on(async {
            ping.await.expect("join");
            pong.await.expect("join");
        });
    });
}

fn create(run: &Run) {
    run.iterations(|| drop(rt(run.count)));
}

// ---- Timers ----

async fn insert(sleeps: &mut Vec<Pin<Box<tokio::time::Sleep>>>, count: usize) -> (Duration, Instant) {
    let before = Instant::now();
    let first = before + Duration::from_nanos(100_000_000 + 2_000 * count as u64);
    for i in 0..count {
        let place = ((i * 7919) % count) as u64;
        let deadline = first + Duration::from_nanos(place * 100_000_000 / count as u64);
        let mut sleep = Box::pin(tokio::time::sleep_until(deadline.into()));
        poll_fn(|context| {
            let _ = sleep.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
        sleeps.push(sleep);
    }
    (before.elapsed(), first + Duration::from_millis(100))
}

fn timers(run: &Run) {
    let (rt, count) = (rt(1), run.count);
    // Memory that malloc has had before, as weir's timers have: one life of them, and all given back.
    let task = rt.spawn(async move {
        let mut sleeps = Vec::with_capacity(count);
        insert(&mut sleeps, count).await;
        sleeps.clear();
        let inserted = insert(&mut sleeps, count).await.0;
        let before = Instant::now();
        sleeps.clear();
        let cancelled = before.elapsed();
        let last = insert(&mut sleeps, count).await.1;
        let before = processor_time();
        tokio::time::sleep_until(last.into()).await;
        for sleep in &mut sleeps {
            sleep.await;
        }
        (inserted, cancelled, processor_time() - before)
    });
    let (inserted, cancelled, fired) = rt.block_on(task).expect("join");
    run.sample("insert", "ns", inserted.as_nanos() as f64 / count as f64);
    run.sample("cancel", "ns", cancelled.as_nanos() as f64 / count as f64);
    run.sample("fire", "ns", fired.as_nanos() as f64 / count as f64);
}

// ---- Sockets ----

async fn serve(mut stream: UnixStream) {
    let mut bytes = [0u8; 64];
    loop {
        match stream.read(&mut bytes).await {
            Ok(count) if count > 0 => stream.write_all(&bytes[..count]).await.expect("write"),
            _ => return,
        }
    }
}

fn echo(run: &Run) {
    let rt = rt(1);
    let mut clients = rt.block_on(async {
        (0..run.count)
            .map(|_| {
                let (client, server) = UnixStream::pair().expect("pair");
                tokio::spawn(serve(server));
                client
            })
            .collect::<Vec<_>>()
    });
    run.iterations(|| {
        let turns: Vec<_> = clients
            .drain(..)
            .map(|mut client| {
                rt.spawn(async move {
                    let mut bytes = [0u8; 64];
                    for _ in 0..20 {
                        client.write_all(&bytes).await.expect("write");
                        assert_eq!(client.read(&mut bytes).await.expect("read"), 64);
                    }
                    client
                })
            })
            .collect();
        rt.block_on(async {
            for turn in turns {
                clients.push(turn.await.expect("join"));
            }
        });
    });
}

// ---- Memory ----

fn memory<F, T>(run: &Run, wait: F)
where
    F: Fn(&'static AtomicUsize) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let rt = rt(1);
    let waiting: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
    let before = resident_bytes();
    let begin = Instant::now();
    for _ in 0..run.count {
        drop(rt.spawn(wait(waiting)));
    }
    while waiting.load(SeqCst) < run.count {
        std::thread::yield_now();
    }
    let took = begin.elapsed();
    run.sample("resident", "bytes", (resident_bytes() - before) / run.count as f64);
    run.sample("spawn", "ns", took.as_nanos() as f64 / run.count as f64);
    rt.shutdown_background();
}

fn tasks_idle(run: &Run) {
    let never: &'static Notify = Box::leak(Box::new(Notify::new()));
    memory(run, |waiting| async move {
        waiting.fetch_add(1, SeqCst);
        never.notified().await;
    });
}

fn tasks_sleeping(run: &Run) {
    memory(run, |waiting| async move {
        waiting.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_secs(3600)).await;
    });
}

fn main() {
    let mut cases = Vec::new();
    let workers = [1, 2, 4, 8];
    add(&mut cases, "spawn_many_local", &workers, spawn_many_local);
    add(&mut cases, "spawn_in_worker", &workers, spawn_in_worker);
    add(&mut cases, "spawn_many_remote_idle", &workers, remote_idle);
    add(&mut cases, "spawn_many_remote_busy1", &workers, remote_busy1);
    add(&mut cases, "spawn_many_remote_busy2", &workers, remote_busy2);
    add(&mut cases, "yield_many", &workers, yield_many);
    add(&mut cases, "ping_pong", &workers, ping_pong);
    add(&mut cases, "chained_spawn", &workers, chained_spawn);
    add(&mut cases, "current_spawn", &[0], current_spawn);
    add(&mut cases, "current_yield", &[0], current_yield);
    add(&mut cases, "remote_spawn", &[1, 2, 4, 8], remote_spawn);
    add(&mut cases, "cross_wake", &[1], cross_wake);
    add(&mut cases, "create", &[0, 1, 2], create);
    add(&mut cases, "timers", &[1000, 10_000, 100_000, 1_000_000], timers);
    add(&mut cases, "echo", &[1, 10, 100, 1000, 9000], echo);
    add(&mut cases, "tasks_idle", &[1000, 10_000, 100_000, 1_000_000], tasks_idle);
    add(&mut cases, "tasks_sleeping", &[1000, 10_000, 100_000, 1_000_000], tasks_sleeping);
    run("tokio", cases);
}
