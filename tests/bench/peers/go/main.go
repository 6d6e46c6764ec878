// Go on the rows of bench_runtime.c, bench_threads.c, bench_timers.c, bench_sockets.c and
// bench_memory.c: goroutines for tasks, channels for oneshots, GOMAXPROCS for workers.
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	spawns       = 10000
	busy2Spawns  = 1000
	yielders     = 200
	yields       = 1000
	pairs        = 1000
	chainLength  = 1000
	remoteSpawns = 12800
)

type bench struct {
	row      string
	count    int
	measure  func(*bench)
	duration time.Duration
}

func (b *bench) sample(metric, unit string, value float64) {
	fmt.Printf("{\"row\":%q,\"who\":\"go\",\"metric\":%q,\"unit\":%q,\"value\":%.3f}\n", b.row, metric, unit, value)
}

func (b *bench) median(metric string, durations []time.Duration) {
	sort.Slice(durations, func(i, k int) bool { return durations[i] < durations[k] })
	b.sample(metric, "us", float64(durations[len(durations)/2].Nanoseconds())/1e3)
}

func (b *bench) iterations(iterate func()) {
	iterate()
	var durations []time.Duration
	begin := time.Now()
	for len(durations) < 3 || time.Since(begin) < b.duration {
		before := time.Now()
		iterate()
		durations = append(durations, time.Since(before))
	}
	b.median("time", durations)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench_go:", err)
		os.Exit(1)
	}
}

func stall() {
	for begin := time.Now(); time.Since(begin) < 10*time.Microsecond; {
		_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// ---- The scheduler ----

func spawnMany(b *bench) {
	done := make(chan struct{}, 1000)
	b.iterations(func() {
		var left atomic.Int32
		left.Store(spawns)
		go func() {
			for i := 0; i < spawns; i++ {
				go func() {
					if left.Add(-1) == 0 {
						done <- struct{}{}
					}
				}()
			}
		}()
		<-done
	})
}

// A channel for each goroutine is its join handle.
func spawnAndJoin(b *bench, count int) {
	joins := make([]chan struct{}, count)
	b.iterations(func() {
		for i := range joins {
			join := make(chan struct{}, 1)
			joins[i] = join
			go func() { join <- struct{}{} }()
		}
		for _, join := range joins {
			<-join
		}
	})
}

func remoteIdle(b *bench) { spawnAndJoin(b, spawns) }

func remoteBusy1(b *bench) {
	var over atomic.Bool
	for i := 0; i < 2*b.count; i++ {
		go func() {
			for !over.Load() {
				runtime.Gosched()
				stall()
			}
		}()
	}
	spawnAndJoin(b, spawns)
	over.Store(true)
}

func busyChain(over *atomic.Bool) {
	if !over.Load() {
		stall()
		go busyChain(over)
	}
}

func remoteBusy2(b *bench) {
	var over atomic.Bool
	for i := 0; i < b.count; i++ {
		go busyChain(&over)
	}
	spawnAndJoin(b, busy2Spawns)
	over.Store(true)
}

func yieldMany(b *bench) {
	done := make(chan struct{}, yielders)
	b.iterations(func() {
		for i := 0; i < yielders; i++ {
			go func() {
				for k := 0; k < yields; k++ {
					runtime.Gosched()
				}
				done <- struct{}{}
			}()
		}
		for i := 0; i < yielders; i++ {
			<-done
		}
	})
}

func pingPong(b *bench) {
	done := make(chan struct{}, 1000)
	b.iterations(func() {
		var left atomic.Int32
		left.Store(pairs)
		go func() {
			for i := 0; i < pairs; i++ {
				go func() {
					there, back := make(chan struct{}, 1), make(chan struct{}, 1)
					go func() {
						<-there
						back <- struct{}{}
					}()
					there <- struct{}{}
					<-back
					if left.Add(-1) == 0 {
						done <- struct{}{}
					}
				}()
			}
		}()
		<-done
	})
}

func chain(done chan struct{}, left int) {
	if left == 0 {
		done <- struct{}{}
	} else {
		go chain(done, left-1)
	}
}

func chainedSpawn(b *bench) {
	done := make(chan struct{}, 1000)
	b.iterations(func() {
		go chain(done, chainLength)
		<-done
	})
}

// The threads that spawn are goroutines: one locked to a thread of its own is slower, and nobody does
// that to spawn. Each looks at the clock itself, as in bench_threads.c.
func remoteSpawn(b *bench) {
	var spawned, ran []time.Duration
	begins, ends := make([]time.Time, b.count), make([]time.Time, b.count)
	done := make(chan time.Time, 1)
	for start := time.Now(); len(spawned) < 4 || time.Since(start) < b.duration; {
		var left atomic.Int32
		var threads sync.WaitGroup
		left.Store(int32(remoteSpawns / b.count * b.count))
		begin := make(chan struct{})
		threads.Add(b.count)
		for i := range begins {
			i := i
			go func() {
				<-begin
				begins[i] = time.Now()
				for k := 0; k < remoteSpawns/b.count; k++ {
					go func() {
						if left.Add(-1) == 0 {
							done <- time.Now()
						}
					}()
				}
				ends[i] = time.Now()
				threads.Done()
			}()
		}
		time.Sleep(time.Millisecond)
		close(begin)
		threads.Wait()
		first, last := begins[0], ends[0]
		for i := range begins {
			if begins[i].Before(first) {
				first = begins[i]
			}
			if ends[i].After(last) {
				last = ends[i]
			}
		}
		spawned = append(spawned, last.Sub(first))
		ran = append(ran, (<-done).Sub(first))
	}
	b.median("time", spawned)
	b.median("done", ran)
}

// ---- Timers: insert, cancel, fire, as in bench_timers.c ----

func processorTime() time.Duration {
	var used syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func insertTimers(timers []*time.Timer, fired *sync.WaitGroup) (time.Duration, time.Time) {
	count := len(timers)
	before := time.Now()
	first := before.Add(100*time.Millisecond + time.Duration(2000*count))
	for i := range timers {
		place := (i * 7919) % count
		deadline := first.Add(time.Duration(place * 100000000 / count))
		timers[i] = time.AfterFunc(time.Until(deadline), fired.Done)
	}
	return time.Since(before), first.Add(100 * time.Millisecond)
}

func timers(b *bench) {
	var fired sync.WaitGroup
	held := make([]*time.Timer, b.count)
	fired.Add(b.count)
	took, _ := insertTimers(held, &fired)
	b.sample("insert", "ns", float64(took.Nanoseconds())/float64(b.count))
	before := time.Now()
	for _, timer := range held {
		timer.Stop()
	}
	took = time.Since(before)
	b.sample("cancel", "ns", float64(took.Nanoseconds())/float64(b.count))
	_, last := insertTimers(held, &fired)
	used := processorTime()
	time.Sleep(time.Until(last))
	fired.Wait()
	b.sample("fire", "ns", float64((processorTime()-used).Nanoseconds())/float64(b.count))
}

// ---- Sockets ----

func connOf(fd int) net.Conn {
	file := os.NewFile(uintptr(fd), "pair")
	conn, err := net.FileConn(file)
	must(err)
	must(file.Close())
	return conn
}

func serve(conn net.Conn) {
	bytes := make([]byte, 64)
	for {
		count, err := conn.Read(bytes)
		if err != nil {
			return
		}
		_, err = conn.Write(bytes[:count])
		must(err)
	}
}

func echo(b *bench) {
	var files syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	files.Cur = files.Max
	must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files))
	clients := make([]net.Conn, b.count)
	for i := range clients {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		must(err)
		clients[i] = connOf(pair[0])
		go serve(connOf(pair[1]))
	}
	b.iterations(func() {
		var left sync.WaitGroup
		left.Add(b.count)
		for _, client := range clients {
			go func(client net.Conn) {
				bytes := make([]byte, 64)
				for i := 0; i < 20; i++ {
					_, err := client.Write(bytes)
					must(err)
					_, err = client.Read(bytes)
					must(err)
				}
				left.Done()
			}(client)
		}
		left.Wait()
	})
}

// ---- Memory ----

func residentBytes() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	must(err)
	pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	must(err)
	return pages * 4096
}

func memory(b *bench, wait func()) {
	var waiting atomic.Int32
	before, begin := residentBytes(), time.Now()
	for i := 0; i < b.count; i++ {
		go func() {
			waiting.Add(1)
			wait()
		}()
	}
	for int(waiting.Load()) < b.count {
		runtime.Gosched()
	}
	took := time.Since(begin)
	b.sample("resident", "bytes", (residentBytes()-before)/float64(b.count))
	b.sample("spawn", "ns", float64(took.Nanoseconds())/float64(b.count))
}

func tasksIdle(b *bench)     { never := make(chan struct{}); memory(b, func() { <-never }) }
func tasksSleeping(b *bench) { memory(b, func() { time.Sleep(time.Hour) }) }

// ---- The command line of bench.h ----

func main() {
	var cases []*bench
	add := func(row string, measure func(*bench), counts ...int) {
		for _, count := range counts {
			cases = append(cases, &bench{row: fmt.Sprintf("%s/%d", row, count), count: count, measure: measure})
		}
	}
	add("spawn_many_local", spawnMany, 1, 2, 4, 8)
	add("spawn_in_worker", spawnMany, 1, 2, 4, 8)
	add("spawn_many_remote_idle", remoteIdle, 1, 2, 4, 8)
	add("spawn_many_remote_busy1", remoteBusy1, 1, 2, 4, 8)
	add("spawn_many_remote_busy2", remoteBusy2, 1, 2, 4, 8)
	add("yield_many", yieldMany, 1, 2, 4, 8)
	add("ping_pong", pingPong, 1, 2, 4, 8)
	add("chained_spawn", chainedSpawn, 1, 2, 4, 8)
	add("remote_spawn", remoteSpawn, 1, 2, 4, 8)
	add("timers", timers, 1000, 10000, 100000, 1000000)
	add("echo", echo, 1, 10, 100, 1000, 9000)
	add("tasks_idle", tasksIdle, 1000, 10000, 100000, 1000000)
	add("tasks_sleeping", tasksSleeping, 1000, 10000, 100000, 1000000)
	if len(os.Args) == 2 && os.Args[1] == "--list" {
		for _, b := range cases {
			fmt.Println(b.row, "go")
		}
		return
	}
	for _, b := range cases {
		if len(os.Args) == 4 && b.row == os.Args[1] {
			ms, err := strconv.Atoi(os.Args[3])
			must(err)
			b.duration = time.Duration(ms) * time.Millisecond
			switch {
			case strings.HasPrefix(b.row, "remote_spawn"):
				runtime.GOMAXPROCS(2)
			case strings.HasPrefix(b.row, "timers"), strings.HasPrefix(b.row, "echo"), strings.HasPrefix(b.row, "tasks"):
				runtime.GOMAXPROCS(1)
			default:
				runtime.GOMAXPROCS(b.count)
			}
			b.measure(b)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: bench_go --list; bench_go ROW WHO MILLISECONDS")
	os.Exit(2)
}
