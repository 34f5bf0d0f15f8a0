//! The life of a server: launched, settled, ended.
//!
//! Each state is written before what it names is begun, so that a kill at any moment leaves something that the same
//! call finishes: *pending* before the machine is made, *booting* with the scripts that are done, *decommissioning*
//! likewise, *terminated* after the machine is gone.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rs_contract::{
    Channel, Error, Expect, Kind, Launch, Machine, Machines, Progress, Result, RunResult, Txn, Work,
};
use rs_model::input::resolve;
use rs_model::{Array, Inputs, Instance, Level, Phase, Server, State, Template, TemplateRef};
use serde_json::Value as Json;

use super::Managed;
use super::definitions::locked;
use super::keys::{self, MachineRow, Stored};
use super::objects::{decode, encode};
use super::runs::{Job, one_line, others};

/// What all decommission scripts of a server may take together.
const BUDGET: Duration = Duration::from_secs(100);
/// What the end of a machine may take on which nothing runs yet.
const SOON: Work = Work { timeout: Duration::from_secs(30) };
/// How often a boot looks whether a server that it needs to know has an address by now.
const LOOK: Duration = Duration::from_millis(100);
/// The address of an instance whose machine is still to be made.
const NONE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Managed {
    fn machine_row(&self, id: &str) -> Result<MachineRow> {
        match self.state.get(&keys::machine(id))? {
            Some(entry) => decode(entry),
            None => Err(Error::new(Kind::NotFound, format!("the machine {id} is not known here"))),
        }
    }

    fn machine_of(&self, instance: &Instance) -> Result<(Box<dyn Machines>, Machine)> {
        let row = self.machine_row(&instance.id)?;
        let machine = Machine {
            id: instance.id.clone(),
            address: instance.address,
            home: instance.home.clone().unwrap_or_default(),
        };
        Ok((crate::machines(&row.machines)?, machine))
    }

    /// The way to a server that has a machine.
    pub(super) fn reach(&self, server: &Server) -> Result<Box<dyn Channel>> {
        let name = &server.name;
        if server.foreign {
            return Err(Error::new(
                Kind::Declined,
                format!("{name:?} was not launched by us: there is no way onto it"),
            )
            .hint("what works over TCP works on it; do the rest there by hand"));
        }
        match &server.current {
            Some(current) if current.home.is_some() => {
                let (machines, machine) = self.machine_of(current)?;
                machines.channel(&machine)
            }
            _ => Err(Error::new(
                Kind::Declined,
                format!("{name:?} is {}: it has no machine", server.state.word()),
            )
            .hint("rs-server launch it first")),
        }
    }

    pub(super) fn begin_launch(
        &self,
        deployment: &str,
        name: &str,
        launch: &Launch,
    ) -> Result<Server> {
        let server = self.find_server(deployment, name)?;
        if server.foreign {
            return Err(Error::new(
                Kind::Declined,
                format!("{name:?} was not launched by us: it cannot be launched"),
            )
            .hint("start it there by hand"));
        }
        let server = match server.state {
            State::Pending => server,
            State::Inactive | State::Terminated => {
                self.write_pending(deployment, &server, launch)?
            }
            State::Decommissioning | State::StrandedInDecommissioning => {
                return Err(Error::new(
                    Kind::Declined,
                    format!("{name:?} is {}", server.state.word()),
                )
                .hint("rs-server relaunch ends it and makes it anew"));
            }
            _ => return Ok(server),
        };
        self.make_machine(deployment, &server)
    }

    /// What a launch sees, or everything that stands in its way.
    fn evaluate(
        &self,
        deployment: &str,
        name: &str,
        reference: Option<&TemplateRef>,
        own: &Inputs,
        level: Level,
        launch: &Inputs,
    ) -> Result<(Option<Template>, Instance)> {
        let of = self.find_deployment(deployment)?;
        let template = match reference {
            Some(reference) => Some(self.find_template(reference)?),
            None => {
                return Err(Error::new(Kind::Declined, format!("{name:?} has no template"))
                    .hint("give it one in the site file, then rs-server apply"));
            }
        };
        // unusable machines are found before anything is written
        crate::machines(of.later.get(super::site::MACHINES).unwrap_or(&Json::Null))?;
        let found = resolve(template.as_ref(), &of.inputs, own, level, launch);
        let mut wrong = Vec::new();
        if !found.missing.is_empty() {
            wrong.push(format!("required inputs have no value: {}", found.missing.join(", ")));
        }
        if !found.ambiguous.is_empty() {
            wrong.push(format!(
                "scripts disagree about the default of: {}",
                found.ambiguous.join(", ")
            ));
        }
        wrong.extend(found.outside.iter().map(ToString::to_string));
        if let Some(template) = &template {
            let lost: Vec<String> = template
                .boot
                .iter()
                .chain(&template.decommission)
                .filter(|script| !script.found)
                .map(|script| format!("{:?}", script.name))
                .collect();
            if !lost.is_empty() {
                wrong.push(format!(
                    "scripts of {} were not found: {}",
                    template.reference(),
                    lost.join(", ")
                ));
            }
        }
        if !wrong.is_empty() {
            return Err(Error::new(
                Kind::Usage,
                format!("{name:?} cannot be launched: {}", wrong.join("; ")),
            )
            .hint(format!("rs-inputs set NAME=TYPE:VALUE on {name:?} or on the deployment; nothing was launched")));
        }
        let instance = Instance {
            id: new_id()?,
            address: NONE,
            home: None,
            launched_at: jiff::Timestamp::now().to_string(),
            template: template.as_ref().map(Template::reference),
            inputs: found.values,
            scripts_done: Vec::new(),
            stranded_at: None,
        };
        Ok((template, instance))
    }

    fn row(&self, deployment: &str, server: &str) -> Result<Json> {
        let of = self.find_deployment(deployment)?;
        encode(&MachineRow {
            machines: of.later.get(super::site::MACHINES).cloned().unwrap_or(Json::Null),
            deployment: deployment.to_owned(),
            server: server.to_owned(),
        })
    }

    fn write_pending(&self, deployment: &str, server: &Server, launch: &Launch) -> Result<Server> {
        let name = &server.name;
        let mut next = server.next.clone();
        if launch.save {
            next.extend(launch.inputs.clone());
        }
        let (_, instance) = self.evaluate(
            deployment,
            name,
            server.template.as_ref(),
            &next,
            Level::Server,
            &launch.inputs,
        )?;
        let row = self.row(deployment, name)?;
        self.change_server(deployment, name, |stored, txn| {
            let there = &mut stored.is;
            if there.state.is_up() {
                // somebody else launched it in the meantime
                return Ok(false);
            }
            if launch.save {
                there.next.extend(launch.inputs.clone());
            }
            there.state = State::Pending;
            there.address = None;
            there.current = Some(instance.clone());
            txn.put.push((keys::machine(&instance.id), row.clone()));
            Ok(true)
        })
    }

    pub(super) fn begin_instance(
        &self,
        deployment: &str,
        array: &str,
        launch: &Launch,
    ) -> Result<Server> {
        let of = self.find_array(deployment, array)?;
        let (_, instance) = self.evaluate(
            deployment,
            array,
            of.template.as_ref(),
            &of.next,
            Level::Array,
            &launch.inputs,
        )?;
        let mut made: Option<Server> = None;
        self.change_array(deployment, array, |stored: &mut Stored<Array>, txn| {
            let there = self
                .all_servers(deployment)?
                .into_iter()
                .filter(|s| s.array.as_deref() == Some(array));
            let count = there.count();
            if count >= usize::try_from(stored.is.maximum).unwrap_or(usize::MAX) {
                return Err(Error::new(
                    Kind::Declined,
                    format!("array {array:?} has {count} instances, its maximum"),
                )
                .hint("raise its maximum in the site file, then rs-server apply"));
            }
            if launch.save {
                stored.is.next.extend(launch.inputs.clone());
            }
            stored.made += 1;
            // somebody may have given a server or an array of his own such a name
            let mut name = instance_name(array, stored.made);
            while self.state.get(&keys::server(deployment, &name))?.is_some()
                || self.state.get(&keys::array(deployment, &name))?.is_some()
            {
                stored.made += 1;
                name = instance_name(array, stored.made);
            }
            txn.expect.push(Expect::Absent(keys::array(deployment, &name)));
            let server = Server {
                name,
                state: State::Pending,
                array: Some(array.to_owned()),
                template: stored.is.template.clone(),
                tags: stored.is.tags.clone(),
                current: Some(instance.clone()),
                ..Server::default()
            };
            let key = keys::server(deployment, &server.name);
            let order = self.state.next(keys::ORDER)?;
            txn.expect.push(Expect::Absent(key.clone()));
            txn.put.push((key, encode(&Stored { order, made: 0, is: &server })?));
            txn.put.push((keys::machine(&instance.id), self.row(deployment, &server.name)?));
            made = Some(server);
            Ok(true)
        })?;
        match made {
            Some(server) => self.make_machine(deployment, &server).inspect_err(|_| {
                // nobody can finish it, and an array counts what it has: the error says why
                let _ = self.take_back(deployment, &server.name);
            }),
            None => Err(Error::new(Kind::Failed, format!("no instance of {array:?} was made"))),
        }
    }

    /// An instance that got no machine is gone again; one that another tool drives on is left to it.
    fn take_back(&self, deployment: &str, name: &str) -> Result<()> {
        match self.find_server(deployment, name)?.state {
            State::Pending => self.finish_end(deployment, name, SOON, &|_| {}),
            _ => Ok(()),
        }
    }

    /// Makes the machine of a pending server and goes over to booting.
    fn make_machine(&self, deployment: &str, server: &Server) -> Result<Server> {
        let name = &server.name;
        let Some(instance) = server.current.as_ref().filter(|_| server.state == State::Pending)
        else {
            return Ok(server.clone());
        };
        let machines = crate::machines(&self.machine_row(&instance.id)?.machines)?;
        for _ in 0..100 {
            let machine = machines.make(&instance.id, &self.used_addresses()?)?;
            let key = keys::address(machine.address);
            let whose = self.state.get(&key)?;
            let ours = whose.as_ref().is_some_and(|entry| entry.value == instance.id.as_str());
            if whose.is_some() && !ours {
                // somebody took this address at the same moment: another one
                machines.end(&machine, SOON)?;
                continue;
            }
            let changed = self.change_server(deployment, name, |stored, txn| {
                let there = &mut stored.is;
                let Some(current) = there.current.as_mut().filter(|c| c.id == instance.id) else {
                    return Err(Error::new(
                        Kind::Declined,
                        format!("{name:?} was launched anew by somebody else"),
                    ));
                };
                if there.state != State::Pending {
                    return Ok(false);
                }
                if !ours {
                    txn.expect.push(Expect::Absent(key.clone()));
                    txn.put.push((key.clone(), instance.id.as_str().into()));
                }
                current.address = machine.address;
                current.home = Some(machine.home.clone());
                there.address = Some(machine.address);
                there.state = State::Booting;
                Ok(true)
            });
            match changed {
                // its address was taken between our look and our writing
                Err(e) if e.is_race() => {
                    machines.end(&machine, SOON)?;
                }
                done => return done,
            }
        }
        Err(Error::new(Kind::Failed, format!("no address could be had for {name:?}"))
            .hint("the same command again"))
    }

    pub(super) fn finish_boot(
        &self,
        deployment: &str,
        name: &str,
        work: Work,
        progress: Progress<'_>,
    ) -> Result<Server> {
        let until = Instant::now() + work.timeout;
        let mut server = self.find_server(deployment, name)?;
        if server.foreign {
            return Ok(server);
        }
        if server.state == State::Pending {
            server = self.make_machine(deployment, &server)?;
        }
        match server.state {
            State::Operational => return Ok(server),
            State::Booting => {}
            _ => return Err(not_booting(&server)),
        }
        let _alone = self.scripts_alone(deployment, name, left(until), progress)?;
        server = self.find_server(deployment, name)?;
        loop {
            match server.state {
                State::Operational => return Ok(server),
                State::Booting => {}
                _ => return Err(not_booting(&server)),
            }
            let (template, current) = self.launched_from(&server)?;
            self.wait_for_others(deployment, name, current, until, progress)?;
            let Some(next) = template.boot.get(current.scripts_done.len()) else {
                return self.change_server(deployment, name, |stored, _| {
                    stored.is.state = State::Operational;
                    Ok(true)
                });
            };
            let script = template.script(&next.name).ok_or_else(|| lost(&template, &next.name))?;
            progress(&format!("{name}: {}", script.name));
            let result = self.run_script(
                &Job {
                    deployment,
                    server: &server,
                    script,
                    phase: Phase::Boot,
                    inputs: &Inputs::new(),
                    marks: &[],
                    timeout: left(until),
                    follow: false,
                },
                progress,
            )?;
            if result.exit != 0 {
                self.strand(deployment, &server, State::StrandedInBooting, &result)?;
                return Err(failed("boot", name, &result).hint(format!(
                    "put the cause right, then rs-server relaunch; its output is kept as {}",
                    result.id
                )));
            }
            server = self.script_done(deployment, &server, &script.name)?;
        }
    }

    /// Waits until every other server that the inputs name has an address (as RightScale's *configuring* does).
    fn wait_for_others(
        &self,
        deployment: &str,
        name: &str,
        current: &Instance,
        until: Instant,
        progress: Progress<'_>,
    ) -> Result<()> {
        let wanted: Vec<(&str, &str)> = others(&current.inputs).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut told = false;
        loop {
            let all = self.all_servers(deployment)?;
            // one that is not there at all is an error of the values, named when they are looked up
            let waiting = wanted.iter().find(|(other, var)| {
                matches!(*var, "PRIVATE_IP" | "PUBLIC_IP" | "INSTANCE_ID")
                    && all.iter().any(|s| s.name == **other && s.address.is_none())
            });
            let Some((other, var)) = waiting else { return Ok(()) };
            if left(until).is_zero() {
                return Err(Error::new(
                    Kind::TimedOut,
                    format!("{name:?} waits for {var} of {other:?}, which is not launched"),
                )
                .hint(format!("rs-server launch {other:?}, then the same command again")));
            }
            if !told {
                progress(&format!("{name}: waits for {var} of {other}"));
                told = true;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn launched_from<'a>(&self, server: &'a Server) -> Result<(Template, &'a Instance)> {
        let current = server.current.as_ref().ok_or_else(|| {
            Error::new(Kind::Failed, format!("{:?} has no current instance", server.name))
        })?;
        let template = match &current.template {
            Some(reference) => self.find_template(reference)?,
            None => Template::default(),
        };
        Ok((template, current))
    }

    fn script_done(&self, deployment: &str, server: &Server, script: &str) -> Result<Server> {
        let id = server.current.as_ref().map(|current| current.id.as_str());
        self.change_server(deployment, &server.name, |stored, _| match &mut stored.is.current {
            Some(current) if Some(current.id.as_str()) == id => {
                current.scripts_done.push(script.to_owned());
                Ok(true)
            }
            _ => Err(Error::new(
                Kind::Declined,
                format!("{:?} was launched anew by somebody else", server.name),
            )),
        })
    }

    fn strand(
        &self,
        deployment: &str,
        server: &Server,
        state: State,
        result: &RunResult,
    ) -> Result<Server> {
        self.change_server(deployment, &server.name, |stored, _| {
            stored.is.state = state;
            if let Some(current) = &mut stored.is.current {
                current.stranded_at = Some(format!("{} ({})", result.script, result.id));
            }
            Ok(true)
        })
    }

    pub(super) fn finish_end(
        &self,
        deployment: &str,
        name: &str,
        work: Work,
        progress: Progress<'_>,
    ) -> Result<()> {
        let until = Instant::now() + work.timeout;
        let mut server = self.find_server(deployment, name)?;
        if server.foreign {
            return Err(Error::new(
                Kind::Declined,
                format!("{name:?} was not launched by us: it cannot be ended"),
            )
            .hint("end it there by hand"));
        }
        if !server.state.is_up() {
            return Ok(());
        }
        let _alone = self.scripts_alone(deployment, name, left(until), progress)?;
        server = self.find_server(deployment, name)?;
        let Some(instance) = server.current.clone().filter(|_| server.state.is_up()) else {
            return Ok(());
        };
        let (machines, machine) = self.machine_of(&instance)?;
        let runs_scripts = matches!(server.state, State::Operational | State::Decommissioning);
        if runs_scripts && machines.alive(&machine)? {
            self.decommission(deployment, &server, until, progress)?;
        } else {
            self.change_server(deployment, name, |stored, _| {
                if stored.is.locked {
                    return Err(locked(name));
                }
                stored.is.state = State::Decommissioning;
                Ok(true)
            })?;
        }
        progress(&format!("{name}: ends the machine"));
        // whatever is left of the time, ending gets some
        let timeout = left(until).max(Duration::from_secs(30));
        machines.end(&machine, Work { timeout })?;
        self.forget_machine(deployment, &server, &instance)
    }

    /// Runs the decommission scripts that are still to be run.
    fn decommission(
        &self,
        deployment: &str,
        server: &Server,
        until: Instant,
        progress: Progress<'_>,
    ) -> Result<()> {
        let name = &server.name;
        let until = until.min(Instant::now() + BUDGET);
        let mut server = self.change_server(deployment, name, |stored, _| {
            if stored.is.locked {
                return Err(locked(name));
            }
            let begins = stored.is.state != State::Decommissioning;
            if begins {
                stored.is.state = State::Decommissioning;
                if let Some(current) = &mut stored.is.current {
                    current.scripts_done.clear();
                }
            }
            Ok(begins)
        })?;
        loop {
            let (template, current) = self.launched_from(&server)?;
            let Some(next) = template.decommission.get(current.scripts_done.len()) else {
                return Ok(());
            };
            let script = template.script(&next.name).ok_or_else(|| lost(&template, &next.name))?;
            progress(&format!("{name}: {}", script.name));
            let left_alone = self.without_the_gone(deployment, &server, progress)?;
            let job = Job {
                deployment,
                server: &left_alone,
                script,
                phase: Phase::Decommission,
                inputs: &Inputs::new(),
                marks: &[("RS_DECOMMISSION_REASON", "terminate".to_owned())],
                timeout: left(until),
                follow: false,
            };
            let hint = "look at it; the same command again ends the machine without its scripts";
            let result = match self.run_script(&job, progress) {
                Ok(result) => result,
                Err(e) if e.kind() == Kind::TimedOut => {
                    let result = RunResult {
                        script: script.name.clone(),
                        id: "out of time".into(),
                        ..RunResult::default()
                    };
                    self.strand(deployment, &server, State::StrandedInDecommissioning, &result)?;
                    return Err(e.hint(hint));
                }
                Err(e) => return Err(e),
            };
            if result.exit != 0 {
                self.strand(deployment, &server, State::StrandedInDecommissioning, &result)?;
                return Err(failed("decommission", name, &result).hint(hint));
            }
            server = self.script_done(deployment, &server, &script.name)?;
        }
    }

    /// The server without values that come from servers that are gone: a site that is ended as a whole must not hang
    /// on the order in which its servers go.
    fn without_the_gone(
        &self,
        deployment: &str,
        server: &Server,
        progress: Progress<'_>,
    ) -> Result<Server> {
        let mut server = server.clone();
        let Some(current) = &mut server.current else { return Ok(server) };
        if others(&current.inputs).next().is_none() {
            return Ok(server);
        }
        let all = self.all_servers(deployment)?;
        current.inputs.retain(|input, resolved| {
            let one = std::collections::BTreeMap::from([(input.clone(), resolved.clone())]);
            let gone = others(&one)
                .find(|(other, _)| !all.iter().any(|s| s.name == **other && s.address.is_some()));
            if let Some((other, _)) = gone {
                progress(&format!("{}: goes without {input}, since {other} is gone", server.name));
            }
            gone.is_none()
        });
        Ok(server)
    }

    /// After the machine is gone.
    fn forget_machine(&self, deployment: &str, server: &Server, instance: &Instance) -> Result<()> {
        let gone = vec![keys::machine(&instance.id), keys::address(instance.address)];
        if server.array.is_some() {
            let key = keys::server(deployment, &server.name);
            let mut delete = gone;
            delete.push(key.clone());
            while let Some(read) = self.read::<Server>(&key)? {
                let expect = vec![Expect::Version(key.clone(), read.version)];
                match self.state.commit(&Txn { expect, put: Vec::new(), delete: delete.clone() }) {
                    Err(e) if e.is_race() => {}
                    done => return done,
                }
            }
            return Ok(());
        }
        self.change_server(deployment, &server.name, |stored, txn| {
            let there = &mut stored.is;
            if there.current.as_ref().is_none_or(|current| current.id != instance.id) {
                return Ok(false);
            }
            there.state = State::Terminated;
            there.address = None;
            there.current = None;
            txn.delete.clone_from(&gone);
            Ok(true)
        })
        .map(|_| ())
    }
}

fn instance_name(array: &str, number: u64) -> String {
    format!("{array} #{number}")
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn new_id() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::new(Kind::Failed, "no random number could be had").because(e))?;
    Ok(bytes.iter().fold("i-".to_owned(), |id, byte| format!("{id}{byte:02x}")))
}

fn failed(phase: &str, server: &str, result: &RunResult) -> Error {
    let error = Error::new(
        Kind::Failed,
        format!(
            "{phase} script {:?} of {server:?} failed with exit {} ({})",
            result.script, result.exit, result.id
        ),
    );
    match result.tail.as_str() {
        "" => error.because("it said nothing"),
        tail => error.because(format!("it said last: {}", one_line(tail))),
    }
}

fn lost(template: &Template, script: &str) -> Error {
    Error::new(
        Kind::Failed,
        format!("template {} lost its script {script:?}", template.reference()),
    )
    .hint("apply the site file again with that script in its place, then relaunch")
}

fn not_booting(server: &Server) -> Error {
    let name = &server.name;
    match server.state {
        State::StrandedInBooting => {
            let at =
                server.current.as_ref().and_then(|c| c.stranded_at.clone()).unwrap_or_default();
            Error::new(Kind::Failed, format!("{name:?} is stranded in booting at {at}"))
                .hint("put the cause right, then rs-server relaunch it")
        }
        state => Error::new(Kind::Declined, format!("{name:?} is {}", state.word()))
            .hint("rs-server launch it"),
    }
}
