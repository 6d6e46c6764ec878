// async-executor on the rows of bench_runtime.c and bench_threads.c. It brings no threads: as its
// documentation proposes, each worker is a thread that blocks on Executor::run.
#[path = "../harness.rs"]
#[allow(dead_code)]
mod harness;

use async_executor::{Executor, LocalExecutor};
use futures_channel::oneshot;
use futures_lite::future::{block_on, yield_now};
use harness::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

type Ex = &'static Executor<'static>;

// The threads stay until the process ends.
fn executor(workers: usize) -> Ex {
    let ex: Ex = Box::leak(Box::new(Executor::new()));
    for _ in 0..workers {
        std::thread::spawn(move || block_on(ex.run(std::future::pending::<()>())));
    }
    std::thread::sleep(Duration::from_millis(1));
    ex
}

fn spawn_many(ex: Ex, tx: &mpsc::SyncSender<()>, left: &Arc<AtomicUsize>) {
    left.store(SPAWNS, SeqCst);
    for _ in 0..SPAWNS {
        let (tx, left) = (tx.clone(), left.clone());
        ex.spawn(async move {
            if left.fetch_sub(1, SeqCst) == 1 {
                tx.send(()).expect("send");
            }
        })
        .detach();
    }
}

fn spawn_many_local(run: &Run) {
    let (ex, left) = (executor(run.count), Arc::new(AtomicUsize::new(0)));
    let (tx, rx) = mpsc::sync_channel(1000);
    run.iterations(|| {
        block_on(async {
            spawn_many(ex, &tx, &left);
            rx.recv().expect("recv");
        })
    });
}

fn spawn_in_worker(run: &Run) {
    let (ex, left) = (executor(run.count), Arc::new(AtomicUsize::new(0)));
    let (tx, rx) = mpsc::sync_channel(1000);
    run.iterations(|| {
        let (tx, left) = (tx.clone(), left.clone());
        ex.spawn(async move { spawn_many(ex, &tx, &left) }).detach();
        rx.recv().expect("recv");
    });
}

fn spawn_remote_and_join(run: &Run, ex: Ex, count: usize) {
    let mut tasks = Vec::with_capacity(count);
    run.iterations(|| {
        for _ in 0..count {
            tasks.push(ex.spawn(async {}));
        }
        block_on(async {
            for task in tasks.drain(..) {
                task.await;
            }
        })
    });
}

fn remote_idle(run: &Run) {
    spawn_remote_and_join(run, executor(run.count), SPAWNS);
}

fn remote_busy1(run: &Run) {
    let (ex, on) = (executor(run.count), Arc::new(AtomicBool::new(true)));
    for _ in 0..2 * run.count {
        let on = on.clone();
        ex.spawn(async move {
            while on.load(SeqCst) {
                yield_now().await;
                stall();
            }
        })
        .detach();
    }
    spawn_remote_and_join(run, ex, SPAWNS);
    on.store(false, SeqCst);
}

fn busy_chain(ex: Ex, on: Arc<AtomicBool>) {
    ex.spawn(async move {
        if on.load(SeqCst) {
            stall();
            busy_chain(ex, on);
        }
    })
    .detach();
}

fn remote_busy2(run: &Run) {
    let (ex, on) = (executor(run.count), Arc::new(AtomicBool::new(true)));
    for _ in 0..run.count {
        busy_chain(ex, on.clone());
    }
    spawn_remote_and_join(run, ex, BUSY2_SPAWNS);
    on.store(false, SeqCst);
}

fn yield_many(run: &Run) {
    let ex = executor(run.count);
    let (tx, rx) = mpsc::sync_channel(YIELDERS);
    run.iterations(|| {
        for _ in 0..YIELDERS {
            let tx = tx.clone();
            ex.spawn(async move {
                for _ in 0..YIELDS {
                    yield_now().await;
                }
                tx.send(()).expect("send");
            })
            .detach();
        }
        for _ in 0..YIELDERS {
            rx.recv().expect("recv");
        }
    });
}

fn ping_pong(run: &Run) {
    let (ex, left) = (executor(run.count), Arc::new(AtomicUsize::new(0)));
    let (done_tx, done_rx) = mpsc::sync_channel(1000);
    run.iterations(|| {
        let (done_tx, left) = (done_tx.clone(), left.clone());
        left.store(PAIRS, SeqCst);
        ex.spawn(async move {
            for _ in 0..PAIRS {
                let (left, done_tx) = (left.clone(), done_tx.clone());
                ex.spawn(async move {
                    let (tx1, rx1) = oneshot::channel();
                    let (tx2, rx2) = oneshot::channel();
                    ex.spawn(async move {
                        rx1.await.expect("recv");
                        tx2.send(()).expect("send");
                    })
                    .detach();
                    tx1.send(()).expect("send");
                    rx2.await.expect("recv");
                    if left.fetch_sub(1, SeqCst) == 1 {
                        done_tx.send(()).expect("send");
                    }
                })
                .detach();
            }
        })
        .detach();
        done_rx.recv().expect("recv");
    });
}

fn chain(ex: Ex, done: mpsc::SyncSender<()>, left: usize) {
    if left == 0 {
        done.send(()).expect("send");
    } else {
        ex.spawn(async move { chain(ex, done, left - 1) }).detach();
    }
}

fn chained_spawn(run: &Run) {
    let ex = executor(run.count);
    let (tx, rx) = mpsc::sync_channel(1000);
    run.iterations(|| {
        let tx = tx.clone();
        ex.spawn(async move { chain(ex, tx, CHAIN) }).detach();
        rx.recv().expect("recv");
    });
}

fn current_spawn(run: &Run) {
    let ex = LocalExecutor::new();
    let mut tasks = Vec::with_capacity(CURRENT_SPAWNS);
    run.iterations(|| {
        block_on(ex.run(async {
            for _ in 0..CURRENT_SPAWNS {
                tasks.push(ex.spawn(async {}));
            }
            for task in tasks.drain(..) {
                task.await;
            }
        }))
    });
}

fn current_yield(run: &Run) {
    let ex = LocalExecutor::new();
    run.iterations(|| {
        let tasks: Vec<_> = (0..YIELDERS)
            .map(|_| {
                ex.spawn(async {
                    for _ in 0..YIELDS {
                        yield_now().await;
                    }
                })
            })
            .collect();
        block_on(ex.run(async {
            for task in tasks {
                task.await;
            }
        }))
    });
}

fn remote_spawn(run: &Run) {
    let ex = executor(2);
    RemoteSpawns::measure(run, |spawns| ex.spawn(async move { spawns.leaf() }).detach());
}

fn tasks_idle(run: &Run) {
    let ex = executor(1);
    let waiting: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
    let before = resident_bytes();
    let begin = Instant::now();
    for _ in 0..run.count {
        ex.spawn(async move {
            waiting.fetch_add(1, SeqCst);
            std::future::pending::<()>().await;
        })
        .detach();
    }
    while waiting.load(SeqCst) < run.count {
        std::thread::yield_now();
    }
    let took = begin.elapsed();
    run.sample("resident", "bytes", (resident_bytes() - before) / run.count as f64);
    run.sample("spawn", "ns", took.as_nanos() as f64 / run.count as f64);
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
    add(&mut cases, "tasks_idle", &[1000, 10_000, 100_000, 1_000_000], tasks_idle);
    run("async-executor", cases);
}
