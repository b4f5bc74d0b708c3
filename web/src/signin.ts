// Asks for the token of a server that has them.
import { api } from "./api";
import { h } from "./dom";
import { problem } from "./notices";

export function signIn(app: HTMLElement): void {
  const field = h("input", { type: "password", autocomplete: "current-password", "aria-label": "Token", placeholder: "Token", required: true });
  const form = h("form", { class: "sign-in", onsubmit: (event: Event) => {
    event.preventDefault();
    api.login(field.value.trim()).then(() => location.reload()).catch(problem);
  } }, h("h1", {}, "miras"), h("p", {}, "This server asks who you are. Paste the token that you were given."), field, h("button", { type: "submit", class: "main" }, "Sign in"));
  app.replaceChildren(h("main", { class: "start" }, form));
  field.focus();
}
