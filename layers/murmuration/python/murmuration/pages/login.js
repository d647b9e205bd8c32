"use strict";
// Performs a login by the stages of POST /_matrix/client/api/v1/login, whichever the server asks for.
const data = JSON.parse(document.getElementById("data").textContent);
const fields = data.fields || {};
const stage = document.getElementById("stage");
const status = document.getElementById("status");
const problem = document.getElementById("problem");
const POLL_MS = 2000;
let session;
window.matrixLogin = window.matrixLogin || {};

function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (key === "onclick" || key === "onsubmit") made[key] = value;
        else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
}

function show(words, ...children) {
    status.textContent = words;
    problem.textContent = "";
    stage.replaceChildren(...children);
    const first = stage.querySelector("input, button, a");
    if (first) first.focus();
}

function input(label, name, attributes) {
    return element("label", {}, label, element("input", { name, required: "", ...attributes }));
}

function form(words, button, inputs, submit) {
    const made = element("form", {
        method: "post",
        onsubmit: async (event) => {
            event.preventDefault();
            const send = made.querySelector("button");
            send.disabled = true;
            await submit(Object.fromEntries(new FormData(made)));
            send.disabled = false;
        },
    }, ...inputs, element("button", {}, button));
    show(words, made);
}

async function ask(method, body) {
    const options = { method, headers: { Accept: "application/json" }, cache: "no-store" };
    if (body) {
        options.headers["Content-Type"] = "application/json";
        options.body = JSON.stringify(body);
    }
    try {
        const answer = await fetch(data.login, options);
        return await answer.json();
    } catch {
        return { errcode: "M_UNKNOWN", error: "The server can't be reached. Try again." };
    }
}

function send(type, more) {
    return ask("POST", { ...fields, type, ...(session ? { session } : {}), ...more });
}

// What an answer means: another stage, the end, or that something was wrong. True if the login went on.
function goOn(answer) {
    if (answer.errcode) {
        problem.textContent = answer.error || answer.errcode;
        return false;
    }
    session = answer.session || session;
    if (answer.access_token) finish(answer);
    else if (answer.next) STAGES[answer.next]();
    return true;
}

function finish(answer) {
    show("You are logged in. You can go back to your client.");
    if (window.matrixLogin.onLogin) window.matrixLogin.onLogin(answer);
    else if (window.onLogin) window.onLogin(answer);
    else if (window.opener) window.opener.postMessage({ type: "matrixLogin", response: answer }, location.origin);
}

const USER = ["User name", "user", { autocomplete: "username", autocapitalize: "none", spellcheck: "false" }];
const EMAIL = ["E-mail address", "email", { type: "email", autocomplete: "email" }];

const STAGES = {
    "m.login.password"() {
        const secret = input("Password", "password", { type: "password", autocomplete: "current-password" });
        form("Enter your user name and password.", "Log in", [input(...USER), secret], async (values) => {
            goOn(await send("m.login.password", values));
        });
    },

    async "m.login.oauth2"() {
        show("Taking you to where you log in …");
        const answer = await send("m.login.oauth2", { page: true });
        if (goOn(answer) && answer.uri) location.assign(answer.uri);
    },

    "m.login.email.code"() {
        const words = "Enter your user name and e-mail address: a code will be sent to you.";
        form(words, "Send the code", [input(...USER), input(...EMAIL)], async (values) => {
            if (goOn(await send("m.login.email.code", values))) enterCode();
        });
    },

    "m.login.email.url"() {
        const words = "Enter your user name and e-mail address: a link will be sent to you.";
        form(words, "Send the link", [input(...USER), input(...EMAIL)], async (values) => {
            if (goOn(await send("m.login.email.url", values))) awaitLink();
        });
    },
};

function enterCode() {
    const code = input("Code", "code", { autocomplete: "one-time-code", inputmode: "numeric" });
    form("Enter the code that was sent to you.", "Log in", [code], async (values) => {
        goOn(await send("m.login.email.code", values));
    });
}

function awaitLink() {
    show("Follow the link that was sent to you, then come back here: this page is waiting for it.");
    const poll = async () => {
        const answer = await send("m.login.email.url", {});
        if (answer.errcode === "M_LOGIN_EMAIL_URL_NOT_YET" || answer.errcode === "M_LIMIT_EXCEEDED") {
            setTimeout(poll, Math.max(POLL_MS, answer.retry_after_ms || 0));
        } else {
            goOn(answer);
        }
    };
    setTimeout(poll, POLL_MS);
}

const NAMES = {
    "m.login.password": "with your password",
    "m.login.oauth2": "with another account of yours",
    "m.login.email.code": "with a code by e-mail",
    "m.login.email.url": "with a link by e-mail",
};

async function begin() {
    show("Asking the server …");
    const answer = await ask("GET");
    if (answer.errcode) {
        goOn(answer);
        return;
    }
    const known = answer.flows.filter((flow) => (flow.stages || [flow.type]).every((type) => STAGES[type]));
    if (known.length === 1) {
        await STAGES[known[0].type]();
        return;
    }
    const choices = known.map((flow) => {
        const words = (flow.stages || [flow.type]).map((type) => NAMES[type]).join(", then ");
        return element("li", {}, element("button", { type: "button", onclick: STAGES[flow.type] }, `Log in ${words}`));
    });
    const list = element("ul", { class: "choices" }, ...choices);
    show(known.length ? "Choose how to log in." : "This server has no way to log in that this page knows.", list);
}

if (!data.outcome) {
    begin();
} else {
    history.replaceState(null, "", "/_matrix/static/client/login/");
    show("");
    if (!goOn(data.outcome)) {
        const again = element("button", { type: "button", onclick: () => begin() }, "Try again");
        stage.replaceChildren(again);
    }
}
