// A target as a plain program: runs the files, and all files in the folders, that it is given.
//
//   NAME FILE|FOLDER...      names the input that fails, then fails as that does
//
// A folder's files are run in the order of their names; those that begin with a dot are left out.
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLAY_PATH_BYTES_MAX 4096

static char replay_path[REPLAY_PATH_BYTES_MAX]; // of the input that runs now
static unsigned long replayed;

// Called with a signal, and by the sanitizers when they have found something.
static void replay_name_input(void)
{
    static const char head[] = "fuzz: the input that fails: ";
    if (replay_path[0] != '\0') {
        ssize_t written = write(STDERR_FILENO, head, sizeof(head) - 1);
        written += write(STDERR_FILENO, replay_path, strlen(replay_path));
        written += write(STDERR_FILENO, "\n", 1);
        (void)written;
        replay_path[0] = '\0';
    }
}

static void replay_signal(int number)
{
    replay_name_input();
    // The handler was for once: this time it ends the process.
    (void)raise(number);
}

static _Noreturn void replay_give_up(const char *path)
{
    fprintf(stderr, "fuzz: %s: %s\n", path, strerror(errno));
    exit(2);
}

static void replay_file(const char *path)
{
    static unsigned char buffer[FUZZ_INPUT_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        replay_give_up(path);
    }
    size_t count = fread(buffer, 1, sizeof(buffer), file);
    if (ferror(file) != 0) {
        replay_give_up(path);
    }
    fclose(file);
    snprintf(replay_path, sizeof(replay_path), "%s", path);
    unsigned char *bytes = fuzz_copy(buffer, count);
    fuzz_one(bytes, count);
    free(bytes);
    replay_path[0] = '\0';
    replayed++;
}

static int replay_is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay_folder(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, replay_is_visible, alphasort);
    if (count < 0) {
        replay_give_up(path);
    }
    for (int i = 0; i < count; i++) {
        char inside[REPLAY_PATH_BYTES_MAX];
        struct stat status;
        snprintf(inside, sizeof(inside), "%s/%s", path, entries[i]->d_name);
        if (stat(inside, &status) == 0 && S_ISREG(status.st_mode)) {
            replay_file(inside);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int count, char **values)
{
    static const int deadly[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
        struct sigaction action;
        memset(&action, 0, sizeof(action));
        action.sa_handler = replay_signal;
        action.sa_flags = (int)SA_RESETHAND;
        sigaction(deadly[i], &action, NULL);
    }
    if (fuzz_begin != NULL) {
        fuzz_begin();
    }
    for (int i = 1; i < count; i++) {
        struct stat status;
        if (stat(values[i], &status) != 0) {
            replay_give_up(values[i]);
        }
        if (S_ISDIR(status.st_mode)) {
            replay_folder(values[i]);
        } else {
            replay_file(values[i]);
        }
    }
    printf("%lu inputs\n", replayed);
    return 0;
}
