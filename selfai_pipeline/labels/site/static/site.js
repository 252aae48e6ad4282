"use strict";
// Keys for the buttons of the page, which work without this file. A key counts once the face can be seen, and
// once a page: what is held down or pressed too often never scores the next face unseen.
const face = document.getElementById("face");
const hint = document.getElementById("keys");
const keysSwitch = document.getElementById("keys-switch");
const KEYS = "selfai-keys";
let isSent = false;

const areOn = () => localStorage.getItem(KEYS) !== "off";
const show = () => {
  keysSwitch.textContent = areOn() ? "Keys are on" : "Keys are off";
  keysSwitch.setAttribute("aria-pressed", String(areOn()));
};

hint.hidden = false;
show();
keysSwitch.addEventListener("click", () => {
  localStorage.setItem(KEYS, areOn() ? "off" : "on");
  show();
});

for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    if (isSent) event.preventDefault();
    isSent = true;
  });
}

const LOST = "The face cannot be shown. Load this page again.";
const sayThatItIsLost = () => {
  const said = document.querySelector("[role=status]");
  if (!said.textContent.includes(LOST)) said.textContent = `${said.textContent.trim()} ${LOST}`;
};
face.addEventListener("error", sayThatItIsLost);
if (face.complete && face.naturalWidth === 0) sayThatItIsLost();

// Back in the history brings the page as it was left.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

document.addEventListener("keydown", (event) => {
  if (!areOn() || isSent || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key >= "0" && event.key <= "9" && event.key.length === 1) {
    if (!face.complete || face.naturalWidth === 0) return;
    event.preventDefault();
    document.querySelector(`button[name="score"][value="${event.key}"]`).click();
  } else if (event.key === "u" || event.key === "U") {
    event.preventDefault();
    document.querySelector("#undo button").click();
  }
});
