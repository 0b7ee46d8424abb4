/** Building the page. Data from outside, names above all, enters it as text, never as markup. */

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { data = {}, ...rest } = properties;
  Object.assign(made, rest);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

/** Sets text only when it changed: a selection or a screen reader isn't disturbed for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setState(node, state, text) {
  node.className = 'state';
  node.dataset.state = state;
  setText(node, text);
}

export function showFault(node, error) {
  node.hidden = error === undefined;
  setText(node, error === undefined ? '' : error.message);
}

/** A button that works while it is pressed: disabled until its action is over, its fault shown. */
export function actionButton(label, faultNode, action) {
  const button = element('button', { type: 'button' }, label);
  button.addEventListener('click', async () => {
    button.disabled = true;
    try {
      await action();
      showFault(faultNode, undefined);
    } catch (error) {
      showFault(faultNode, error);
    }
    button.disabled = false;
  });
  return button;
}

export function copyButton(label, text) {
  const button = element('button', { type: 'button' }, label);
  button.addEventListener('click', async () => {
    const isCopied = await copy(text());
    setText(button, isCopied ? 'Copied' : 'Copy failed');
    setTimeout(() => setText(button, label), 1500);
  });
  return button;
}

/** Browsers give the clipboard only to https and localhost; the old way works for a team's own network. */
async function copy(text) {
  if (navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused by the browser's settings: the old way may still be allowed.
    }
  }
  const field = element('textarea', { value: text, className: 'hidden' });
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand('copy');
  field.remove();
  return isCopied;
}
