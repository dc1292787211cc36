//! `wf_runtime`: threads, plugin folders and log messages, shared by runs. Nothing else starts threads.

use core::ffi::c_void;
use core::mem::offset_of;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use walkforge_plugin_abi::{wf_error, wf_host, wf_plugin_api, wf_string};

use super::guard::{Handle, HandleType, check_pointer, fail, guard, put, read_struct, string, utf8};
use walkforge::internals::device::{Parallel, in_default_environment, keep_environment};
use walkforge::internals::plugin::level_code;
use walkforge::{PluginSearch, Result, Runtime, register};

/// Threads, plugin folders and the log callback, shared by runs.
pub enum wf_runtime {}

/// Receives a log message. `level` is one of `WF_LOG_*`; the text is valid during the call. May be called on any thread
/// and concurrently. Must not throw.
pub type wf_log_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, message: wf_string)>;

/// A task of the library, to be called once per index.
pub type wf_task = Option<unsafe extern "C" fn(task_data: *mut c_void, index: usize)>;

/// A parallel loop of the caller: calls `task(task_data, index)` once for each index from 0 to `count` - 1, on any
/// threads, and returns when all calls have returned. Must not throw.
pub type wf_parallel_for =
    Option<unsafe extern "C" fn(user_data: *mut c_void, count: usize, task: wf_task, task_data: *mut c_void)>;

/// Options of a runtime. All fields but `struct_size` set to zero give the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wf_runtime_options {
    /// Size of this struct in bytes.
    pub struct_size: usize,
    /// Number of threads to compute with, at most 1024; 0 for one per core. With `parallel_for`: the number of tasks
    /// that it runs concurrently, at least 1.
    pub threads: usize,
    /// Plugin folders, separated by `:`. Empty: the folders of the environment variable `WALKFORGE_PLUGIN_PATH`, then
    /// the folders of the executable and of the library, then `../lib/walkforge/plugins` relative to each.
    pub plugin_path: wf_string,
    /// Receives log messages; may be null.
    pub log: wf_log_callback,
    /// Passed to `log`.
    pub log_data: *mut c_void,
    /// A parallel loop of the caller; null for a thread pool of the runtime.
    pub parallel_for: wf_parallel_for,
    /// Passed to `parallel_for`.
    pub parallel_data: *mut c_void,
    /// SHA-256 digests of the plugin files that may be loaded: 64 hexadecimal digits each, separated by `,`. Empty:
    /// the list of the environment variable `WALKFORGE_PLUGIN_SHA256`; where that is not set, any file. The file that is
    /// loaded is the one that was hashed. Plugins linked into the program need no digest.
    pub plugin_sha256: wf_string,
}

/// Size of the first version of `wf_runtime_options`, which ended with this field.
const FIRST: usize = offset_of!(wf_runtime_options, parallel_data) + size_of::<*mut c_void>();

/// A larger number is a mistake, and could take all threads that the process may have.
const MOST_THREADS: usize = 1024;

impl HandleType for Runtime {
    const NAME: &'static str = "wf_runtime";
    type Shared = ();
}

/// The caller's pointer for its callbacks, which may be called on any thread.
#[derive(Clone, Copy)]
struct UserData(*mut c_void);

// SAFETY: the documentation of the callbacks requires that they may be called on any thread.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    fn pointer(self) -> *mut c_void {
        self.0
    }
}

/// A parallel loop of the caller.
struct HostLoop {
    threads: usize,
    call: unsafe extern "C" fn(*mut c_void, usize, wf_task, *mut c_void),
    data: UserData,
}

/// A task, and the panic that it ended with, which must not cross the boundary.
struct TaskData<'a> {
    task: &'a (dyn Fn(usize) + Sync),
    panic: Mutex<Option<Box<dyn core::any::Any + Send>>>,
}

unsafe extern "C" fn run_task(data: *mut c_void, index: usize) {
    // SAFETY: `data` is the `TaskData` that `for_each` keeps alive until all calls have returned.
    let data = unsafe { &*data.cast::<TaskData>() };
    // The threads of the host have a floating-point environment of their own.
    let task = || in_default_environment(|| (data.task)(index));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(task));
    if let Err(panic) = result {
        *data.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
    }
}

impl Parallel for HostLoop {
    fn threads(&self) -> usize {
        self.threads
    }

    fn for_each(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let data = TaskData { task, panic: Mutex::new(None) };
        let data_pointer = (&raw const data).cast_mut().cast();
        // SAFETY: `wf_parallel_for` calls `run_task` with the data it was given, and returns when all calls have.
        keep_environment(|| unsafe { (self.call)(self.data.pointer(), count, Some(run_task), data_pointer) });
        if let Some(panic) = data.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Makes a runtime and starts its threads; `options` may be null for the defaults. The callbacks and their data must
/// stay valid as long as the runtime and its runs. The caller frees the handle with `wf_runtime_free`.
///
/// Errors: `WF_E_IO` if threads cannot be started; `WF_E_INVALID_SETTING` if `plugin_sha256` is not a list of digests, or
/// if it is empty and the variable is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_runtime_new(
    options: *const wf_runtime_options,
    runtime: *mut *mut wf_runtime,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        check_pointer("runtime", runtime)?;
        let default = wf_runtime_options {
            struct_size: size_of::<wf_runtime_options>(),
            threads: 0,
            plugin_path: string(""),
            log: None,
            log_data: core::ptr::null_mut(),
            parallel_for: None,
            parallel_data: core::ptr::null_mut(),
            plugin_sha256: string(""),
        };
        // SAFETY: the contract of the C ABI.
        let (given, path, sha256) = unsafe {
            let given = read_struct("options", options, FIRST, default)?;
            let sha256 = utf8("options.plugin_sha256", given.plugin_sha256)?;
            (given, utf8("options.plugin_path", given.plugin_path)?, sha256)
        };
        if given.threads > MOST_THREADS {
            fail!(InvalidArgument, "'options.threads' is {}; allowed is at most {MOST_THREADS}", given.threads);
        }
        let search = if path.is_empty() {
            PluginSearch::standard()
        } else {
            PluginSearch::folders(std::env::split_paths(path).collect::<Vec<PathBuf>>())
        };
        let search = if sha256.is_empty() { search.allow_by_environment()? } else { search.allow_only(sha256)? };
        let mut created = match given.parallel_for {
            None => Runtime::new(search, given.threads)?,
            Some(_) if given.threads == 0 => {
                fail!(InvalidArgument, "'options.threads' is 0; with parallel_for it must be at least 1")
            }
            Some(call) => {
                let host = HostLoop { threads: given.threads, call, data: UserData(given.parallel_data) };
                Runtime { search, parallel: Arc::new(host), log: None }
            }
        };
        if let Some(log) = given.log {
            let data = UserData(given.log_data);
            created.log = Some(Arc::new(move |level, message: &str| {
                // SAFETY: the caller's function, with the caller's pointer; it may be called on any thread.
                keep_environment(|| unsafe { log(data.pointer(), level_code(level), string(message)) });
            }));
        }
        // SAFETY: the contract of the C ABI.
        unsafe { put("runtime", runtime, Handle::into_raw(created, ()).cast()) }
    })
}

/// Registers a plugin that is linked into the program, by its init function, for experiments of later runs. It takes
/// precedence over files of that name.
///
/// Errors: `WF_E_INVALID_ARGUMENT` if the name is empty, looks like a path or is taken; `WF_E_PLUGIN_ABI` if the plugin
/// cannot be used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_runtime_register(
    runtime: *mut wf_runtime,
    name: wf_string,
    init: Option<unsafe extern "C" fn(host: *const wf_host, out: *mut wf_plugin_api, error: *mut *mut wf_error) -> i32>,
    error: *mut *mut wf_error,
) -> i32 {
    guard(error, || {
        let Some(init) = init else { fail!(InvalidArgument, "'init' is null") };
        // SAFETY: the contract of the C ABI.
        unsafe {
            let name = utf8("name", name)?;
            let plugin = register(init, name)?;
            Handle::change(runtime.cast::<Handle<Runtime>>(), |runtime| runtime.search.add(name, plugin))
        }
    })
}

/// Frees a runtime; null is accepted. Runs made from it keep its threads and callbacks, so the data of the callbacks
/// must stay valid until the last of these runs is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wf_runtime_free(runtime: *mut wf_runtime) {
    // SAFETY: the contract of the C ABI.
    unsafe { Handle::free(runtime.cast::<Handle<Runtime>>()) };
}

/// The runtime of a handle.
///
/// # Safety
/// The handle contract of [`Handle::read`].
pub(super) unsafe fn runtime_of(runtime: *const wf_runtime) -> Result<Runtime> {
    // SAFETY: the handle contract.
    unsafe { Handle::read(runtime.cast::<Handle<Runtime>>(), |runtime| Ok(runtime.clone())) }
}
