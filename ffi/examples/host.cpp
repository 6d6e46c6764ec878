// A C++ host: two small classes own the runtime and the pool, and end them in the right order.
//
//     weir recv --listen unix:@weir --count &
//     ./host unix:@weir
//
// The async bodies' weir_select and weir_join are for C; everything else is for C++ too.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "weir_writer.h"

class Runtime
{
  public:
    explicit Runtime(std::uint32_t workers)
    {
        weir_runtime_options options = {};
        options.workers = workers;
        weir_runtime *made = nullptr;
        int error = weir_runtime_create(&made, &options);
        if (error < 0) {
            throw std::runtime_error(weir_error_text(error));
        }
        runtime_.reset(made);
    }
    weir_runtime *get() const
    {
        return runtime_.get();
    }

  private:
    struct Destroy {
        void operator()(weir_runtime *runtime) const
        {
            weir_runtime_destroy(runtime);
        }
    };
    std::unique_ptr<weir_runtime, Destroy> runtime_;
};

// Must not outlive its runtime. Movable, not copyable; any thread may log.
class Pool
{
  public:
    Pool(const Runtime &runtime, const weir_pool_options &options)
    {
        char why[512];
        weir_pool *made = nullptr;
        if (weir_pool_open(&made, runtime.get(), &options, why, sizeof(why)) < 0) {
            throw std::runtime_error(why);
        }
        pool_.reset(made);
    }

    // 0 or a WEIR_E... code: a full buffer is an everyday event, not an exception.
    int log(const std::string &line) noexcept
    {
        return weir_log(pool_.get(), line.data(), line.size());
    }

    // Lets `format`, (char *bytes, size_t bytes_max) -> size_t, write the message where it will be
    // sent from. Should it throw, nothing is sent.
    template <typename Format> int log_in_place(std::size_t bytes_max, Format format)
    {
        weir_slot slot;
        int error = weir_reserve(pool_.get(), nullptr, bytes_max, &slot);
        if (error < 0) {
            return error;
        }
        try {
            std::size_t bytes = format(reinterpret_cast<char *>(slot.bytes), slot.bytes_max);
            return weir_commit(pool_.get(), &slot, bytes);
        } catch (...) {
            weir_abandon(pool_.get(), &slot);
            throw;
        }
    }

    // 0: all that was taken is proven to have arrived.
    int close(std::uint64_t timeout_ms) noexcept
    {
        return weir_pool_close(pool_.get(), timeout_ms);
    }

    weir_metrics stats() const noexcept
    {
        weir_metrics books;
        weir_pool_stats(pool_.get(), &books);
        return books;
    }

  private:
    struct Destroy {
        void operator()(weir_pool *pool) const
        {
            weir_pool_destroy(pool);
        }
    };
    std::unique_ptr<weir_pool, Destroy> pool_;
};

int main(int argc, char **argv)
try {
    Runtime runtime(1); // declared before the pool, and so destroyed after it
    weir_pool_options options;
    weir_pool_options_init(&options);
    options.endpoint = argc > 1 ? argv[1] : "unix:@weir";
    Pool pool(runtime, options);

    std::vector<std::thread> threads;
    for (int number = 0; number < 4; number++) {
        threads.emplace_back([&pool, number] {
            for (int i = 0; i < 500; i++) {
                pool.log("host " + std::to_string(number) + " line " + std::to_string(i));
                pool.log_in_place(64, [number, i](char *bytes, std::size_t bytes_max) {
                    int length = std::snprintf(bytes, bytes_max, "host %d slot %d", number, i);
                    return static_cast<std::size_t>(length);
                });
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }

    int error = pool.close(10000);
    weir_metrics books = pool.stats();
    std::cout << books.accepted_messages << " accepted, " << books.confirmed_messages
              << " confirmed: " << (error < 0 ? weir_error_text(error) : "delivered") << "\n";
    return error < 0;
} catch (const std::exception &error) {
    std::cerr << "host: " << error.what() << "\n";
    return 1;
}
