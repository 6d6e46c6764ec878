# Benchmarks: tests/bench/run says more. QUICK=1, ROUNDS, MS, ROWS="log_128 stream" (a pattern).
.PHONY: bench bench-peers bench-scale bench-nginx
BENCH_RUN = +@BUILD='$(abspath $(BUILD))' OUT='$(abspath $(BUILD_ROOT))/bench-results' QUICK='$(QUICK)' \
    $(foreach knob,ROUNDS MS ROWS,$(if $(value $(knob)),$(knob)='$(value $(knob))')) tests/bench/run

bench: $(BENCH_BIN) ## what weir costs, beside a mutex, a send() and a raw loop: a table; QUICK=1
	$(BENCH_RUN) own

bench-peers: $(BENCH_BIN) ## weir beside Tokio, async-executor, Go, asio, libuv and spdlog; QUICK=1
	$(BENCH_RUN) peers

bench-scale: $(BENCH_BIN) ## cost against number, over decades: plots in BUILD_ROOT/bench-results/
	$(BENCH_RUN) scale

bench-nginx: all ## nginx with one worker: what logging costs a request, eight ways; QUICK=1
	+@tests/install-tools nginx wrk rsyslog curl
	+@BUILD='$(abspath $(BUILD))' QUICK='$(QUICK)' tests/bench/nginx $(ARGS)
