// The till's screen. Its backend, which has the API key, is played by Caddy: see demo/Caddyfile.
const state = document.getElementById("state");
const profile = document.getElementById("profile");
let current = 0; // the latest login; an older one must not change the screen

document.getElementById("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const mine = ++current;
  profile.hidden = true;
  try {
    await login(new FormData(event.target).get("finish"), () => mine === current);
  } catch (problem) {
    if (mine === current) state.textContent = `This did not work: ${problem.message}`;
  }
});

async function login(finish, isCurrent) {
  // Shown on both devices, so that the customer knows which login to approve.
  const binding = `TILL-${100 + Math.floor(Math.random() * 900)}`;
  state.textContent = "Asking ...";
  let answer = await call("/start", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ phone_number: document.getElementById("number").value, binding_message: binding, finish }),
  });
  const { id } = answer;
  while (isCurrent() && answer.status === "pending") {
    state.textContent = `Waiting for the customer, whose phone shows ${binding}.`;
    answer = await call(`/status/${id}?wait=20`);
  }
  if (isCurrent()) show(answer);
}

async function call(path, options) {
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(`${response.status} ${answer.error}${answer.detail ? `, ${answer.detail}` : ""}`);
  return answer;
}

function show(answer) {
  state.textContent = `The login is ${answer.status}${answer.error ? `: ${answer.error}` : ""}.`;
  profile.tBodies[0].replaceChildren(...Object.entries(answer.userinfo ?? {}).map(row));
  profile.hidden = !answer.userinfo;
}

// Everything from outside is text, never markup.
function row([name, value]) {
  const tr = document.createElement("tr");
  const th = document.createElement("th");
  th.scope = "row";
  th.textContent = name;
  const td = document.createElement("td");
  td.textContent = typeof value === "string" ? value : JSON.stringify(value);
  tr.append(th, td);
  return tr;
}
