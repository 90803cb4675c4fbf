// A libnvidia-ml.so.1 without a GPU: deterministic values, and trouble on request.
//
// Environment: FAKE_NVML_GPUS (number of GPUs, 8), FAKE_NVML_MIG (index of one GPU that is divided
// into two MIG instances, none), FAKE_NVML_CONTROL (file, read again when it changes). Power limits
// that are set are kept beside that file, in FILE.limits (one uint32 of mW for each GPU, 0 for its
// default), for all processes: a driver keeps them when its callers have gone.
//
// Lines of the control file; GPU is an index, `*` every GPU, `-` the library itself:
//   GPU lost                     every call about it returns NVML_ERROR_GPU_IS_LOST
//   GPU hang FUNCTION            that call does not return while the line is there
//   GPU slow FUNCTION MS         that call takes so long
//   GPU error FUNCTION CODE      that call returns this nvmlReturn_t
//   GPU set KEY VALUE            another value than the formula's (keys: see KEYS)
//   GPU xid CODE SERIAL          one XID event for each new SERIAL
//   GPU process PID BYTES KIND   KIND is compute or graphics
#include <pthread.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       TIMEOUT = 10, IS_LOST = 15, UNKNOWN = 999 };
enum { MAX_GPUS = 16, MAX_LINES = 256, MAX_EVENTS = 64, MIG_COUNT = 2 };

// What can be set, and its default for GPU g.
#define KEYS(K) \
    K(temperature_c, 40 + g) K(memory_temperature_c, 50 + g) K(margin_c, 45 - g) \
    K(power_mw, 300000 + 10000 * g) K(power_limit_mw, 700000) \
    K(power_lowest_mw, 200000) K(power_highest_mw, 700000) K(energy_mj, 1000000.0 * (g + 1)) \
    K(sm_mhz, 1500 + g) K(memory_mhz, 2600 + g) K(utilisation_percent, 80 + g) \
    K(memory_utilisation_percent, 30 + g) K(memory_used, (10.0 + g) * 1073741824) \
    K(clock_event_reasons, 4) K(ecc_corrected, g) K(ecc_uncorrected, 0) \
    K(row_remap_pending, 0) K(row_remap_failed, 0) K(pcie_tx_kbs, 1000 * (g + 1)) \
    K(pcie_rx_kbs, 2000 * (g + 1)) K(nvlink_tx_kib_s, 1000000.0 * (g + 1)) \
    K(nvlink_rx_kib_s, 500000.0 * (g + 1)) K(sm_active_percent, 60 + g) \
    K(tensor_active_percent, 40 + g) K(dram_active_percent, 25 + g)
#define MEMBER(name, formula) name,
enum key { KEYS(MEMBER) KEY_COUNT };
#define NAME(name, formula) #name,
static const char *key_names[] = { KEYS(NAME) };

enum { LIBRARY = -1, EVERY = -2 };
typedef struct { int gpu; char verb[16], what[64]; double number; char kind[16]; } line_t;
typedef struct gpu { int index; struct gpu *parent; double value[KEY_COUNT], energy, read_at; } gpu_t;
typedef struct { gpu_t *device; unsigned long long type, data; unsigned instance, compute; } event_t;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static gpu_t gpus[MAX_GPUS], migs[MIG_COUNT];
static int gpu_count, mig_gpu = -1, line_count, last_serial, event_count, registered[MAX_GPUS];
static line_t lines[MAX_LINES];
static event_t events[MAX_EVENTS];
static struct stat seen;
static double looked_at = -1, started_at;
static uint32_t own_limits[MAX_GPUS], *limits = own_limits;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static double *values_of(gpu_t *gpu)
{
    return gpu->value;
}

static void default_values(gpu_t *gpu)
{
    int g = gpu->index;
#define SET(name, formula) gpu->value[name] = formula;
    KEYS(SET)
}

static double limit_of(const gpu_t *gpu)
{
    uint32_t limit = limits[gpu->index];
    return limit ? limit : gpu->value[power_limit_mw];
}

static double power_of(const gpu_t *gpu)
{
    double limit = limit_of(gpu);
    return gpu->value[power_mw] < limit ? gpu->value[power_mw] : limit;
}

static void keep_limits(void)
{
    char path[4096];
    const char *control = getenv("FAKE_NVML_CONTROL");
    int file;
    if (!control)
        return;
    snprintf(path, sizeof path, "%s.limits", control);
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof own_limits))
        return;
    void *found = mmap(0, sizeof own_limits, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED)
        limits = found;
}

static void count_energy(gpu_t *gpu)
{
    double time = now();
    gpu->energy += (time - gpu->read_at) * power_of(gpu);
    gpu->read_at = time;
}

static int concerns(const line_t *line, int gpu)
{
    return line->gpu == gpu || (line->gpu == EVERY && gpu >= 0);
}

static void apply(void)
{
    for (int g = 0; g < gpu_count; g++) {
        gpu_t *gpu = &gpus[g];
        double counter_before = gpu->value[energy_mj];
        count_energy(gpu);
        default_values(gpu);
        for (int i = 0; i < line_count; i++)
            if (concerns(&lines[i], g) && !strcmp(lines[i].verb, "set"))
                for (int key = 0; key < KEY_COUNT; key++)
                    if (!strcmp(lines[i].what, key_names[key]))
                        values_of(gpu)[key] = lines[i].number;
        if (gpu->value[energy_mj] != counter_before)
            gpu->energy = gpu->value[energy_mj];
    }
    for (int i = 0; i < line_count; i++) {
        int serial = (int)lines[i].number;
        if (strcmp(lines[i].verb, "xid") || serial <= last_serial || event_count == MAX_EVENTS)
            continue;
        last_serial = serial;
        if (lines[i].gpu >= 0 && registered[lines[i].gpu])
            events[event_count++] = (event_t){ &gpus[lines[i].gpu], 8, strtoull(lines[i].what, 0, 10),
                                               ~0u, ~0u };
    }
}

static void read_control(void)  // the mutex is held
{
    const char *path = getenv("FAKE_NVML_CONTROL");
    struct stat found;
    double time = now();
    if (!path || time - looked_at < 0.01)
        return;
    looked_at = time;
    if (stat(path, &found)
        || (found.st_ino == seen.st_ino && found.st_size == seen.st_size
            && !memcmp(&found.st_mtim, &seen.st_mtim, sizeof found.st_mtim)))
        return;
    FILE *file = fopen(path, "r");
    char text[256], gpu[16];
    if (!file)
        return;
    seen = found;
    line_count = 0;
    while (fgets(text, sizeof text, file) && line_count < MAX_LINES) {
        line_t *line = &lines[line_count];
        memset(line, 0, sizeof *line);
        if (sscanf(text, "%15s %15s %63s %lf %15s", gpu, line->verb, line->what, &line->number,
                   line->kind) < 2)
            continue;
        line->gpu = *gpu == '*' ? EVERY : *gpu == '-' ? LIBRARY : atoi(gpu);
        line_count++;
    }
    fclose(file);
    apply();
}

static int find(int gpu, const char *verb, const char *function, double *number)
{
    int found = 0;
    pthread_mutex_lock(&mutex);
    read_control();
    for (int i = 0; i < line_count && !found; i++)
        if (concerns(&lines[i], gpu) && !strcmp(lines[i].verb, verb)
            && (!function || !strcmp(lines[i].what, function))) {
            found = 1;
            if (number)
                *number = lines[i].number;
        }
    pthread_mutex_unlock(&mutex);
    return found;
}

static int trouble(int gpu, const char *function)
{
    double number;
    if (!line_count && !getenv("FAKE_NVML_CONTROL"))
        return OK;
    while (find(gpu, "hang", function, 0))
        usleep(10000);
    if (find(gpu, "slow", function, &number))
        usleep((unsigned)(number * 1000));
    if (gpu >= 0 && find(gpu, "lost", 0, 0))
        return IS_LOST;
    return find(gpu, "error", function, &number) ? (int)number : OK;
}

static int enter(gpu_t *gpu, const char *function)
{
    return gpu ? trouble(gpu->index, function) : INVALID_ARGUMENT;
}

#define ENTER(gpu) do { int code = enter(gpu, __func__); if (code) return code; } while (0)
#define ENTER_LIBRARY() do { int code = trouble(LIBRARY, __func__); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    pthread_mutex_lock(&mutex);
    if (!gpu_count) {
        const char *count = getenv("FAKE_NVML_GPUS"), *mig = getenv("FAKE_NVML_MIG");
        gpu_count = count ? atoi(count) : 8;
        if (gpu_count > MAX_GPUS)
            gpu_count = MAX_GPUS;
        mig_gpu = mig ? atoi(mig) : -1;
        started_at = now();
        keep_limits();
        for (int g = 0; g < gpu_count; g++) {
            gpus[g] = (gpu_t){ .index = g, .read_at = started_at };
            default_values(&gpus[g]);
            gpus[g].energy = gpus[g].value[energy_mj];
        }
        for (int i = 0; i < MIG_COUNT && mig_gpu >= 0; i++)
            migs[i] = (gpu_t){ .index = mig_gpu, .parent = &gpus[mig_gpu] };
    }
    pthread_mutex_unlock(&mutex);
    ENTER_LIBRARY();
    return OK;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int code)
{
    switch (code) {
    case OK: return "Success";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case 9: return "Driver Not Loaded";
    case TIMEOUT: return "Timeout";
    case 13: return "Function Not Found";
    case IS_LOST: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

static int copy(char *to, unsigned size, const char *text)
{
    if (strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return OK;
}

int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    ENTER_LIBRARY();
    return copy(text, size, "570.86.15");
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return OK; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 12080; return OK; }

int nvmlDeviceGetCount_v2(unsigned *count)
{
    ENTER_LIBRARY();
    *count = gpu_count;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **gpu)
{
    if ((int)index >= gpu_count)
        return INVALID_ARGUMENT;
    ENTER(&gpus[index]);
    *gpu = &gpus[index];
    return OK;
}

int nvmlDeviceGetName(gpu_t *gpu, char *text, unsigned size)
{
    ENTER(gpu);
    return copy(text, size, gpu->parent ? "NVIDIA H100 80GB HBM3 MIG 3g.40gb" : "NVIDIA H100 80GB HBM3");
}

int nvmlDeviceGetUUID(gpu_t *gpu, char *text, unsigned size)
{
    char uuid[64];
    ENTER(gpu);
    if (gpu->parent)
        snprintf(uuid, sizeof uuid, "MIG-fa4e0000-0000-4000-8000-%012d", (int)(gpu - migs));
    else
        snprintf(uuid, sizeof uuid, "GPU-fa4e0000-0000-4000-8000-%012d", gpu->index);
    return copy(text, size, uuid);
}

int nvmlDeviceGetIndex(gpu_t *gpu, unsigned *index) { ENTER(gpu); *index = gpu->index; return OK; }
int nvmlDeviceGetMinorNumber(gpu_t *gpu, unsigned *minor) { ENTER(gpu); *minor = gpu->index; return OK; }

static double total_memory(const gpu_t *gpu) { return (gpu->parent ? 40.0 : 80.0) * 1073741824; }

static double used_memory(const gpu_t *gpu) { return gpu->parent ? 1e9 : gpu->value[memory_used]; }

typedef struct { unsigned long long total, free, used; } memory_t;
int nvmlDeviceGetMemoryInfo(gpu_t *gpu, memory_t *memory)
{
    ENTER(gpu);
    memory->total = total_memory(gpu);
    memory->used = used_memory(gpu);
    memory->free = memory->total - memory->used;
    return OK;
}

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2_t;
int nvmlDeviceGetMemoryInfo_v2(gpu_t *gpu, memory_v2_t *memory)
{
    ENTER(gpu);
    memory->total = total_memory(gpu);
    memory->reserved = 0;
    memory->used = used_memory(gpu);
    memory->free = memory->total - memory->used;
    return OK;
}

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} pci_t;
int nvmlDeviceGetPciInfo_v3(gpu_t *gpu, pci_t *pci)
{
    ENTER(gpu);
    memset(pci, 0, sizeof *pci);
    pci->bus = 16 + gpu->index;
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", pci->bus);
    snprintf(pci->legacy, sizeof pci->legacy, "0000:%02X:00.0", pci->bus);
    return OK;
}

#define READ(function, type, key) \
    int function(gpu_t *gpu, type *value) { ENTER(gpu); *value = gpu->value[key]; return OK; }
READ(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, power_limit_mw)
READ(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, clock_event_reasons)
READ(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, clock_event_reasons)
#define DERIVED(function, formula) \
    int function(gpu_t *gpu, unsigned *value) { ENTER(gpu); *value = formula(gpu); return OK; }
DERIVED(nvmlDeviceGetEnforcedPowerLimit, limit_of)
DERIVED(nvmlDeviceGetPowerManagementLimit, limit_of)
DERIVED(nvmlDeviceGetPowerUsage, power_of)

int nvmlDeviceGetPowerManagementLimitConstraints(gpu_t *gpu, unsigned *lowest, unsigned *highest)
{
    ENTER(gpu);
    *lowest = gpu->value[power_lowest_mw];
    *highest = gpu->value[power_highest_mw];
    return OK;
}

int nvmlDeviceSetPowerManagementLimit(gpu_t *gpu, unsigned limit)
{
    ENTER(gpu);
    if (limit < gpu->value[power_lowest_mw] || limit > gpu->value[power_highest_mw])
        return INVALID_ARGUMENT;
    pthread_mutex_lock(&mutex);
    count_energy(gpu);
    limits[gpu->index] = limit;
    pthread_mutex_unlock(&mutex);
    return OK;
}

#define FIXED(function, number) \
    int function(gpu_t *gpu, unsigned *value) { ENTER(gpu); *value = number; return OK; }
FIXED(nvmlDeviceGetPersistenceMode, 1)
FIXED(nvmlDeviceGetComputeMode, 0)
FIXED(nvmlDeviceGetPerformanceState, 0)
FIXED(nvmlDeviceGetDisplayActive, 0)
FIXED(nvmlDeviceGetDisplayMode, 0)

int nvmlDeviceGetTotalEnergyConsumption(gpu_t *gpu, unsigned long long *energy)
{
    ENTER(gpu);
    pthread_mutex_lock(&mutex);
    count_energy(gpu);
    *energy = gpu->energy;
    pthread_mutex_unlock(&mutex);
    return OK;
}

int nvmlDeviceGetTemperature(gpu_t *gpu, unsigned sensor, unsigned *celsius)
{
    (void)sensor;
    ENTER(gpu);
    *celsius = gpu->value[temperature_c];
    return OK;
}

typedef struct { unsigned version; int celsius; } margin_t;
int nvmlDeviceGetMarginTemperature(gpu_t *gpu, margin_t *margin)
{
    ENTER(gpu);
    margin->celsius = gpu->value[margin_c];
    return OK;
}

int nvmlDeviceGetClockInfo(gpu_t *gpu, unsigned kind, unsigned *mhz)
{
    ENTER(gpu);
    *mhz = gpu->value[kind == 2 ? memory_mhz : sm_mhz];
    return OK;
}

int nvmlDeviceGetMaxClockInfo(gpu_t *gpu, unsigned kind, unsigned *mhz)
{
    ENTER(gpu);
    *mhz = kind == 2 ? 2619 : 1980;
    return OK;
}

typedef struct { unsigned gpu, memory; } rates_t;
int nvmlDeviceGetUtilizationRates(gpu_t *gpu, rates_t *rates)
{
    ENTER(gpu);
    rates->gpu = gpu->value[utilisation_percent];
    rates->memory = gpu->value[memory_utilisation_percent];
    return OK;
}

int nvmlDeviceGetTotalEccErrors(gpu_t *gpu, unsigned kind, unsigned counter, unsigned long long *count)
{
    (void)counter;
    ENTER(gpu);
    *count = gpu->value[kind ? ecc_uncorrected : ecc_corrected];
    return OK;
}

int nvmlDeviceGetRemappedRows(gpu_t *gpu, unsigned *corrected, unsigned *uncorrected,
                              unsigned *pending, unsigned *failed)
{
    ENTER(gpu);
    *corrected = *uncorrected = 0;
    *pending = gpu->value[row_remap_pending];
    *failed = gpu->value[row_remap_failed];
    return OK;
}

int nvmlDeviceGetPcieThroughput(gpu_t *gpu, unsigned counter, unsigned *kbs)
{
    ENTER(gpu);
    *kbs = gpu->value[counter ? pcie_rx_kbs : pcie_tx_kbs];
    return OK;
}

// Field values: each can fail by itself, by the name field_<id>.
enum { TYPE_UNSIGNED = 1, TYPE_UNSIGNED_LONG_LONG = 3 };
typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency;
    unsigned type;
    int code;
    union { double d; int si; unsigned ui; unsigned long ul; unsigned long long ull; } value;
} field_t;

static void read_field(gpu_t *gpu, field_t *field)
{
    char name[32];
    double seconds = now() - started_at;
    snprintf(name, sizeof name, "field_%u", field->field);
    field->code = trouble(gpu->index, name);
    field->type = TYPE_UNSIGNED_LONG_LONG;
    switch (field->field) {
    case 82:
        field->type = TYPE_UNSIGNED;
        field->value.ui = gpu->value[memory_temperature_c];
        return;
    case 138:
        field->value.ull = seconds * gpu->value[nvlink_tx_kib_s];
        return;
    case 139:
        field->value.ull = seconds * gpu->value[nvlink_rx_kib_s];
        return;
    default:
        field->code = NOT_SUPPORTED;
    }
}

int nvmlDeviceGetFieldValues(gpu_t *gpu, int count, field_t *fields)
{
    ENTER(gpu);
    for (int i = 0; i < count; i++)
        read_field(gpu, &fields[i]);
    return OK;
}

// GPM: a sample remembers only its time; metrics need two that differ.
typedef struct { gpu_t *gpu; double time; } sample_t;
typedef struct { unsigned version, supported; } support_t;
int nvmlGpmQueryDeviceSupport(gpu_t *gpu, support_t *support)
{
    ENTER(gpu);
    support->supported = 1;
    return OK;
}

int nvmlGpmSampleAlloc(sample_t **sample) { *sample = calloc(1, sizeof **sample); return OK; }
int nvmlGpmSampleFree(sample_t *sample) { free(sample); return OK; }

int nvmlGpmSampleGet(gpu_t *gpu, sample_t *sample)
{
    ENTER(gpu);
    *sample = (sample_t){ gpu, now() };
    return OK;
}

typedef struct { unsigned id; int code; double value; char *names[3]; } metric_t;
typedef struct { unsigned version, count; sample_t *before, *after; metric_t metrics[]; } metrics_t;
int nvmlGpmMetricsGet(metrics_t *get)
{
    ENTER(get->after->gpu);
    if (get->before->gpu != get->after->gpu || get->after->time <= get->before->time)
        return INVALID_ARGUMENT;
    for (unsigned i = 0; i < get->count; i++) {
        metric_t *metric = &get->metrics[i];
        char name[32];
        snprintf(name, sizeof name, "gpm_%u", metric->id);
        metric->code = trouble(get->after->gpu->index, name);
        switch (metric->id) {
        case 2: metric->value = get->after->gpu->value[sm_active_percent]; break;
        case 5: metric->value = get->after->gpu->value[tensor_active_percent]; break;
        case 10: metric->value = get->after->gpu->value[dram_active_percent]; break;
        default: metric->code = NOT_SUPPORTED;
        }
    }
    return OK;
}

typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } process_t;
static int processes(gpu_t *gpu, const char *kind, unsigned *count, process_t *found)
{
    unsigned number = 0, size = found ? *count : 0;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < line_count; i++) {
        if (!concerns(&lines[i], gpu->index) || strcmp(lines[i].verb, "process")
            || strcmp(lines[i].kind, kind))
            continue;
        if (number < size)
            found[number] = (process_t){ (unsigned)atoi(lines[i].what), lines[i].number, ~0u, ~0u };
        number++;
    }
    pthread_mutex_unlock(&mutex);
    *count = number;
    return number > size ? INSUFFICIENT_SIZE : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(gpu_t *gpu, unsigned *count, process_t *found)
{
    ENTER(gpu);
    return processes(gpu, "compute", count, found);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(gpu_t *gpu, unsigned *count, process_t *found)
{
    ENTER(gpu);
    return processes(gpu, "graphics", count, found);
}

int nvmlEventSetCreate(void **set) { ENTER_LIBRARY(); *set = events; return OK; }
int nvmlEventSetFree(void *set) { (void)set; return OK; }

int nvmlDeviceRegisterEvents(gpu_t *gpu, unsigned long long types, void *set)
{
    (void)set;
    ENTER(gpu);
    registered[gpu->index] = (types & 8) != 0;
    return OK;
}

int nvmlEventSetWait_v2(void *set, event_t *event, unsigned timeout_ms)
{
    double deadline = now() + timeout_ms / 1000.0;
    (void)set;
    ENTER_LIBRARY();
    for (;;) {
        int found;
        pthread_mutex_lock(&mutex);
        read_control();
        found = event_count > 0;
        if (found) {
            *event = events[0];
            memmove(events, events + 1, --event_count * sizeof *events);
        }
        pthread_mutex_unlock(&mutex);
        if (found)
            return OK;
        if (now() >= deadline)
            return TIMEOUT;
        // The real one sleeps; this one must look at its control file, when it has one.
        usleep(getenv("FAKE_NVML_CONTROL") ? 200000 : (unsigned)timeout_ms * 1000);
    }
}

int nvmlDeviceGetMigMode(gpu_t *gpu, unsigned *current, unsigned *pending)
{
    ENTER(gpu);
    *current = *pending = gpu->index == mig_gpu;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(gpu_t *gpu, unsigned *count)
{
    ENTER(gpu);
    *count = gpu->index == mig_gpu ? 7 : 0;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(gpu_t *gpu, unsigned index, gpu_t **mig)
{
    ENTER(gpu);
    if (gpu->index != mig_gpu || index >= MIG_COUNT)
        return NOT_FOUND;
    *mig = &migs[index];
    return OK;
}
