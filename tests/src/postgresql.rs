//! A PostgreSQL server of its own, whose TLS needs the token, and stunnel in front of it.
//!
//! What lives here: a data directory and certificates, starting and ending postgres and stunnel as a user other than root, clients that ask
//! once, keep a connection, or connect again and again.
//! What must never live here: what a test expects.
//! Who calls it: the tests of PostgreSQL.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Hsm;
use crate::hsm::module_path;
use crate::product::bin_dir;
use crate::tool::{Ran, require, run, succeed};

/// How long anything may take: far beyond any real time.
const DEADLINE: Duration = Duration::from_mins(1);
/// What Debian calls nobody and nogroup: PostgreSQL refuses to be root.
const NOBODY: u32 = 65_534;
/// The password of the role `bob`.
const PASSWORD: &str = "bobs-8642";

/// Makes the authority of a test, once.
const AUTHORITY: &str = r#"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj "/CN=authority" \
    -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
printf 'subjectAltName = DNS:localhost\n' >names
"#;

/// Makes the server's key and certificate anew, under the passphrase that is there.
const RENEWAL: &str = r#"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 |
    openssl pkcs8 -topk8 -v2 aes-256-cbc -passout file:passphrase.clear -out server.key
openssl req -new -subj /CN=localhost -key server.key -passin file:passphrase.clear |
    openssl x509 -req -days 90 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out server.pem
"#;

/// A key pair in the token, and its certificate in a file and in the token.
const FRONT: &str = r#"
export OPENSSL_CONF=$PWD/openssl.cnf
tool() { pkcs11-tool --module "$MODULE" --token-label suite --login --pin env:PIN "$@"; }
tool --keypairgen --key-type EC:prime256v1 --id 02 --label front
openssl req -new -subj /CN=localhost -engine pkcs11 -keyform engine \
    -key "pkcs11:token=suite;object=front;type=private;pin-source=$PWD/pin" -out front.csr
unset OPENSSL_CONF
openssl x509 -req -days 90 -in front.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out front.pem
openssl x509 -in front.pem -outform DER -out front.der
tool --write-object front.der --type cert --id 02 --label front
"#;

/// OpenSSL with its engine, for requests.
const ENGINE: &str = "openssl_conf = suite\n[suite]\nengines = engines\n[engines]\npkcs11 = pkcs11\n[pkcs11]\n\
    engine_id = pkcs11\nMODULE_PATH = $ENV::MODULE\ninit = 1\n[req]\ndistinguished_name = name\n[name]\n";

/// A data directory, and the server on it when it runs.
pub struct Server {
    /// Where everything of it lies.
    pub directory: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    environment: Vec<(&'static str, PathBuf)>,
    child: Option<Child>,
}

impl Server {
    /// Makes a data directory and the server's certificate; the passphrase of the key file is wrapped by the key `postgresql` of the token `suite`,
    /// which must be there.
    ///
    /// # Panics
    /// When something of it cannot be made.
    #[must_use]
    pub fn install(hsm: &Hsm) -> Self {
        for program in ["psql", "openssl", "pkcs11-tool", "stunnel"] {
            require(program);
        }
        let directory = hsm.home.join("pg");
        fs::create_dir(&directory).expect("a directory");
        // Copied, because nobody need not see where they are built.
        fs::copy(bin_dir().join("strongroom"), directory.join("strongroom")).expect("a program");
        fs::copy(module_path(), directory.join("module.so")).expect("the module");
        fs::write(directory.join("openssl.cnf"), ENGINE).expect("a configuration");
        if is_root() {
            std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).expect("its owner");
        }
        open_to_all(hsm);
        let server = Self {
            directory,
            port: free_port(),
            environment: hsm.environment(),
            child: None,
        };
        server.write_pin(crate::USER_PIN);
        succeed(server.program(programs().join("initdb")).args([
            "--pgdata=data",
            "--username=postgres",
            "--no-sync",
        ]));
        server.script(AUTHORITY);
        server.script(&format!(
            "openssl rand -hex 32 >passphrase.clear\n./strongroom wrap {} --key postgresql --out passphrase <passphrase.clear",
            server.options()
        ));
        server.renew();
        server.configure();
        server
    }

    /// Another key file and certificate, under the same passphrase.
    pub fn renew(&self) {
        self.script(RENEWAL);
    }

    fn options(&self) -> String {
        let place = self.directory.display();
        format!("--module {place}/module.so --token suite --pin-file {place}/pin")
    }

    fn configure(&self) {
        let place = self.directory.display();
        let text = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{place}'\nfsync = off\nssl = on\n\
            ssl_key_file = '{place}/server.key'\nssl_cert_file = '{place}/server.pem'\n\
            ssl_passphrase_command = '{place}/strongroom unwrap {} --in {place}/passphrase'\n\
            ssl_passphrase_command_supports_reload = on\n",
            self.port,
            self.options(),
        );
        let rules = "local all postgres trust\nlocal all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        let data = self.directory.join("data");
        fs::write(data.join("postgresql.conf"), text).expect("a configuration");
        fs::write(data.join("pg_hba.conf"), rules).expect("the rules");
    }

    /// Writes the file of the PIN, for the server's user alone.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_pin(&self, pin: &str) {
        let path = self.directory.join("pin");
        fs::write(&path, pin).expect("a PIN file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        if is_root() {
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("its owner");
        }
    }

    /// A program as the server's user, who finds the token.
    #[must_use]
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("STRONGROOM_DAEMON", "/nonexistent")
            .env("MODULE", self.directory.join("module.so"))
            .env("HOME", &self.directory)
            .env("LC_ALL", "C.UTF-8")
            .current_dir(&self.directory);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn script(&self, text: &str) {
        let mut command = self.program("bash");
        command.env("PIN", crate::USER_PIN);
        command.args(["-euo", "pipefail", "-c", &format!("umask 077\n{text}")]);
        succeed(&mut command);
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        text_of(&self.directory.join("server.log"))
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self) {
        assert!(self.try_start(), "postgres ended:\n{}", self.log());
    }

    /// Starts it; answers whether it came up, or ended.
    ///
    /// # Panics
    /// When it does neither within a minute.
    pub fn try_start(&mut self) -> bool {
        let mut command = self.program(programs().join("postgres"));
        command.args(["-D", "data"]);
        let mut child = spawn_with_log(&mut command, &self.directory.join("server.log"));
        let begin = Instant::now();
        loop {
            if child.try_wait().expect("waiting works").is_some() {
                return false;
            }
            if self.ask("SELECT 1").good {
                self.child = Some(child);
                return true;
            }
            if begin.elapsed() > DEADLINE {
                let _ = child.kill();
                panic!("no answer:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as an administrator does.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        signal(&child, libc::SIGINT);
        let begin = Instant::now();
        while child.try_wait().expect("waiting works").is_none() {
            assert!(begin.elapsed() < DEADLINE, "no end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has it read its configuration, key and certificate again.
    ///
    /// # Panics
    /// When it does not run.
    pub fn reload(&self) {
        signal(self.child.as_ref().expect("a server"), libc::SIGHUP);
    }

    /// Says something to it as its superuser, over the socket.
    #[must_use]
    pub fn ask(&self, sql: &str) -> Ran {
        let mut command = self.client("postgres");
        command.arg("--host").arg(&self.directory);
        command.args([&format!("--port={}", self.port), "--command", sql]);
        run(&mut command, b"")
    }

    /// The same, and it must do it; answers what it says.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn told(&self, sql: &str) -> String {
        let ran = self.ask(sql);
        assert!(ran.good, "{}\n{}", ran.said, self.log());
        String::from_utf8_lossy(&ran.out).trim().to_owned()
    }

    /// Makes the role `bob` and a table that he may read.
    pub fn furnish(&self) {
        self.told(&format!(
            "CREATE ROLE bob LOGIN PASSWORD '{PASSWORD}'; CREATE TABLE card (holder text); \
            INSERT INTO card VALUES ('Ada'); GRANT SELECT ON card TO bob"
        ));
    }

    fn client(&self, role: &str) -> Command {
        let mut command = self.program("psql");
        command.args([
            "-X",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "-d",
            "postgres",
            "-U",
            role,
        ]);
        command
    }

    /// psql as `bob` by TLS, with the certificate verified, at a port of loopback.
    #[must_use]
    pub fn client_by_tls(&self, port: u16) -> Command {
        let mut command = self.client("bob");
        command
            .args(["--host=localhost", &format!("--port={port}")])
            .env("PGHOSTADDR", "127.0.0.1")
            .env("PGPASSWORD", PASSWORD)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", "ca.pem");
        command
    }

    /// Asks by TLS in a new connection.
    #[must_use]
    pub fn ask_by_tls(&self, port: u16, sql: &str) -> Ran {
        run(self.client_by_tls(port).args(["--command", sql]), b"")
    }

    /// The certificate that is shown at its port, as text.
    #[must_use]
    pub fn shown_certificate(&self) -> String {
        let mut command = self.program("openssl");
        command.args(["s_client", "-starttls", "postgres", "-connect"]);
        command.arg(format!("127.0.0.1:{}", self.port));
        let ran = run(&mut command, b"");
        certificate_in(&String::from_utf8_lossy(&ran.out))
    }

    /// The certificate in its file, as text.
    #[must_use]
    pub fn certificate_on_disk(&self) -> String {
        certificate_in(&text_of(&self.directory.join("server.pem")))
    }

    /// stunnel in front of it, with its key in the token.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn front(&self) -> Front {
        self.script(FRONT);
        let port = free_port();
        let place = self.directory.display();
        let text = format!(
            "foreground = yes\npid =\nengine = pkcs11\nengineCtrl = MODULE_PATH:{place}/module.so\nengineCtrl = PIN:{}\n[pg]\nprotocol = pgsql\n\
            accept = 127.0.0.1:{port}\nconnect = {place}/.s.PGSQL.{}\nengineId = pkcs11\n\
            cert = pkcs11:token=suite;object=front;type=cert\nkey = pkcs11:token=suite;object=front;type=private\n",
            crate::USER_PIN,
            self.port,
        );
        let path = self.directory.join("stunnel.conf");
        fs::write(&path, text).expect("a configuration");
        let log = self.directory.join("stunnel.log");
        let mut child = spawn_with_log(self.program("stunnel").arg(&path), &log);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().expect("waiting works").is_some();
            assert!(!ended && begin.elapsed() < DEADLINE, "{}", text_of(&log));
            thread::sleep(Duration::from_millis(20));
        }
        Front { port, log, child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An immediate end: it takes its processes along.
            signal(&child, libc::SIGQUIT);
            let _ = child.wait();
        }
        if thread::panicking() {
            println!("--- log of postgres\n{}---", self.log());
        }
    }
}

/// stunnel, ended on drop.
pub struct Front {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    log: PathBuf,
    child: Child,
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("--- log of stunnel\n{}---", text_of(&self.log));
        }
    }
}

/// A client that keeps one connection.
pub struct Talk {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Talk {
    /// Begins one.
    ///
    /// # Panics
    /// When the client does not start.
    #[must_use]
    pub fn begin(mut client: Command) -> Self {
        let mut child = client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql starts");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            input,
            lines,
        }
    }

    /// Asks what has one line for an answer.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn ask(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql};").expect("psql reads");
        self.lines.recv_timeout(DEADLINE).expect("an answer")
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients that connect anew for each question, until they are told to stop.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Crowd {
    /// Starts some.
    #[must_use]
    pub fn gather(server: &Server, port: u16, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let threads = (0..count)
            .map(|_| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let mut client = server.client_by_tls(port);
                client.args(["--command", "SELECT holder FROM card"]);
                thread::spawn(move || connect_often(client, &stop, &answered))
            })
            .collect();
        Self {
            stop,
            answered,
            threads,
        }
    }

    /// Waits until so many more were answered.
    ///
    /// # Panics
    /// When that takes more than a minute.
    pub fn wait_for(&self, count: usize) {
        let target = self.answered.load(Ordering::SeqCst) + count;
        let begin = Instant::now();
        while self.answered.load(Ordering::SeqCst) < target {
            assert!(begin.elapsed() < DEADLINE, "the clients hang");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends them; answers what those said that were not answered as they should.
    ///
    /// # Panics
    /// When one of the threads did.
    #[must_use]
    pub fn dismiss(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let faults = self.threads.into_iter().map(|one| one.join());
        faults.flat_map(|one| one.expect("a client")).collect()
    }
}

fn connect_often(mut client: Command, stop: &AtomicBool, answered: &AtomicUsize) -> Vec<String> {
    let mut faults = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let ran = run(&mut client, b"");
        if ran.good && ran.out == b"Ada\n" {
            answered.fetch_add(1, Ordering::SeqCst);
        } else {
            faults.push(ran.said);
        }
    }
    faults
}

/// Lets every user of the machine ask for the token: the server is another one than the daemon's. Again after each start of the daemon.
///
/// # Panics
/// When the mode cannot be set.
pub fn open_to_all(hsm: &Hsm) {
    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(hsm.socket(), open).expect("the mode of the socket");
}

/// The directory of the server's programs, whatever version is installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    versions
        .map(|one| one.expect("an entry").path().join("bin"))
        .filter(|bin| bin.join("postgres").is_file())
        .max()
        .expect("postgres is not installed; tests/APT_PACKAGES lists what the suite needs")
}

fn spawn_with_log(command: &mut Command, log: &Path) -> Child {
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log");
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a second handle of the log"))
        .stderr(file)
        .spawn()
        .expect("it starts; tests/APT_PACKAGES lists what the suite needs")
}

fn text_of(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The first certificate in a text; empty if there is none.
fn certificate_in(text: &str) -> String {
    let end = "-----END CERTIFICATE-----";
    let begin = text.find("-----BEGIN CERTIFICATE-----");
    let rest = begin.map_or("", |begin| &text[begin..]);
    rest.find(end)
        .map_or_else(String::new, |at| rest[..at].to_owned())
}

fn signal(child: &Child, number: i32) {
    // SAFETY: the child is ours and not yet waited for, so the number is still its own.
    unsafe { libc::kill(child.id() as i32, number) };
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback");
    listener.local_addr().expect("its number").port()
}

fn is_root() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
