// spdlog's asynchronous logger on the rows of bench_log.c: one thread of its own, its default queue
// of 8,192 messages, no pattern but the message and a newline, over TCP to the same collector.
//
// spdlog-overrun  what does not fit in the queue drives out the oldest
// spdlog-block    the logging thread waits
#include <spdlog/async.h>
#include <spdlog/sinks/tcp_sink.h>
#include <spdlog/spdlog.h>

#include <cstring>
#include <memory>

#include "tests/bench/support_loggers.h"
#include "tests/bench/support_reader.h"

namespace {

bool spdlog_way(void *target, const char *message, size_t bytes)
{
    static_cast<spdlog::logger *>(target)->info(spdlog::string_view_t(message, bytes));
    return true;
}

void spdlog_measure(const bench_case *self)
{
    bench_reader reader;
    bench_reader_start(&reader, BENCH_TCP, 0);
    {
        auto policy = std::strcmp(self->who, "spdlog-block") == 0
                          ? spdlog::async_overflow_policy::block
                          : spdlog::async_overflow_policy::overrun_oldest;
        auto threads = std::make_shared<spdlog::details::thread_pool>(8192, 1);
        auto sink = std::make_shared<spdlog::sinks::tcp_sink_mt>(
            spdlog::sinks::tcp_sink_config("127.0.0.1", reader.port));
        auto logger = std::make_shared<spdlog::async_logger>("bench", sink, threads, policy);
        logger->set_pattern("%v");
        bench_loggers_run(self, spdlog_way, logger.get());
        bench_loggers_report(self, threads->overrun_counter());
    }
    bench_reader_stop(&reader);
}

} // namespace

int main(int argc, char **argv)
{
    static const char *const ways[] = {"spdlog-overrun", "spdlog-block"};
    bench_loggers_add(ways, 2, true, spdlog_measure);
    return bench_main(argc, argv);
}
