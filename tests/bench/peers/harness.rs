// The command line and the samples of tests/bench/bench.h, for peers in Rust.
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

pub const SPAWNS: usize = 10_000;
pub const BUSY2_SPAWNS: usize = 1_000;
pub const YIELDERS: usize = 200;
pub const YIELDS: usize = 1_000;
pub const PAIRS: usize = 1_000;
pub const CHAIN: usize = 1_000;
pub const CURRENT_SPAWNS: usize = 1_000;
pub const REMOTE_SPAWNS: usize = 12_800;

pub struct Case {
    pub row: String,
    pub count: usize,
    pub measure: fn(&Run),
}

pub struct Run {
    pub who: &'static str,
    pub row: String,
    pub count: usize,
    pub duration: Duration,
}

impl Run {
    pub fn sample(&self, metric: &str, unit: &str, value: f64) {
        println!(
            "{{\"row\":\"{}\",\"who\":\"{}\",\"metric\":\"{metric}\",\"unit\":\"{unit}\",\"value\":{value:.3}}}",
            self.row, self.who
        );
    }

    pub fn median(&self, metric: &str, mut durations: Vec<Duration>) {
        durations.sort();
        self.sample(metric, "us", durations[durations.len() / 2].as_nanos() as f64 / 1e3);
    }

    // Once to warm up, then until the time is over, at least three times.
    pub fn iterations(&self, mut iterate: impl FnMut()) {
        iterate();
        let mut durations = Vec::new();
        let begin = Instant::now();
        while durations.len() < 3 || begin.elapsed() < self.duration {
            let before = Instant::now();
            iterate();
            durations.push(before.elapsed());
        }
        self.median("time", durations);
    }
}

// Keeps a thread busy for 10 us.
pub fn stall() {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(10) {
        std::thread::yield_now();
    }
}

pub fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: f64 = text.split(' ').nth(1).expect("statm").parse().expect("statm");
    pages * 4096.0
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
}

// What all threads of the process have used.
pub fn processor_time() -> Duration {
    let mut time = [0i64; 2];
    // SAFETY: two 64-bit words, which is what the structure has on the machines this is built for.
    unsafe { clock_gettime(2, &mut time) };
    Duration::new(time[0] as u64, time[1] as u32)
}

// Remote spawns: threads begin together, each spawns its share and looks at the clock itself.
pub struct RemoteSpawns {
    left: AtomicUsize,
    done: Mutex<Option<Instant>>,
}

impl RemoteSpawns {
    // What each task does.
    pub fn leaf(&self) {
        if self.left.fetch_sub(1, SeqCst) == 1 {
            *self.done.lock().expect("lock") = Some(Instant::now());
        }
    }

    fn spawn_from_threads(count: usize, spawn: &(impl Fn() + Sync)) -> (Instant, Instant) {
        let barrier = Barrier::new(count);
        let times: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let begin = Instant::now();
                        for _ in 0..REMOTE_SPAWNS / count {
                            spawn();
                        }
                        (begin, Instant::now())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("thread")).collect()
        });
        let first = times.iter().map(|time| time.0).min().expect("threads");
        (first, times.iter().map(|time| time.1).max().expect("threads"))
    }

    // From the first spawn to the last (time), and until the last task has run (done).
    pub fn measure(run: &Run, spawn: impl Fn(&'static RemoteSpawns) + Sync) {
        let spawns: &'static RemoteSpawns =
            Box::leak(Box::new(RemoteSpawns { left: AtomicUsize::new(0), done: Mutex::new(None) }));
        let (mut spawned, mut ran, start) = (Vec::new(), Vec::new(), Instant::now());
        while spawned.len() < 4 || start.elapsed() < run.duration {
            spawns.left.store(REMOTE_SPAWNS / run.count * run.count, SeqCst);
            let (first, last) = Self::spawn_from_threads(run.count, &|| spawn(spawns));
            let done = loop {
                if let Some(done) = spawns.done.lock().expect("lock").take() {
                    break done;
                }
                std::thread::yield_now();
            };
            spawned.push(last - first);
            ran.push(done - first);
        }
        run.median("time", spawned);
        run.median("done", ran);
    }
}

pub fn run(who: &'static str, cases: Vec<Case>) {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() == 2 && arguments[1] == "--list" {
        for case in &cases {
            println!("{} {}", case.row, who);
        }
        return;
    }
    let case = cases.iter().find(|case| arguments.len() == 4 && case.row == arguments[1]);
    match case {
        Some(case) => (case.measure)(&Run {
            who,
            row: case.row.clone(),
            count: case.count,
            duration: Duration::from_millis(arguments[3].parse().expect("milliseconds")),
        }),
        None => {
            eprintln!("usage: bench --list; bench ROW WHO MILLISECONDS");
            std::process::exit(2);
        }
    }
}

// A case for each count, named row/count.
pub fn add(cases: &mut Vec<Case>, row: &str, counts: &[usize], measure: fn(&Run)) {
    for &count in counts {
        cases.push(Case { row: format!("{row}/{count}"), count, measure });
    }
}
