"""Actions of tests on the page in a browser."""

from __future__ import annotations

import base64

DROP = """
const transfer = new DataTransfer();
for (const [name, content] of Object.entries(arguments[0])) {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  transfer.items.add(new File([bytes], name));
}
document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
"""
READY = "!document.querySelector('.divider').hidden && document.querySelector('.notice').hidden"


def states(page):
    return page.run(
        "return [...document.querySelectorAll('.list li')].map("
        "(row) => [row.querySelector('.name').textContent, row.dataset.state])"
    )


def open_image(page, name):
    """Open an image of the list by its title, which is its full name."""
    page.run(
        "[...document.querySelectorAll('.list .open')]"
        ".find((each) => each.title === arguments[0]).click()",
        name,
    )
    page.wait_for(READY)
    page.wait_for("document.querySelector('[aria-current]').closest('li').dataset.state === 'done'")
    settle(page)


def settle(page):
    """Wait until everything requested is drawn."""
    page.run(
        "window.drawn = 0; requestAnimationFrame(() => requestAnimationFrame(() => drawn = 1))"
    )
    page.wait_for("window.drawn")


def press(page, *keys):
    page.run("document.querySelector('.stage').focus()")
    page.press(".stage", *keys)
    settle(page)


def drop(page, *named):
    """Drop files, (name, content) each, in one go."""
    page.run(DROP, {name: base64.b64encode(content).decode() for name, content in named})


def current(page):
    return page.run("return document.querySelector('[aria-current]')?.title ?? null")


def remove(page, name):
    page.run(
        "[...document.querySelectorAll('.list .open')].find((each) => each.title === arguments[0])"
        ".parentElement.querySelector('.remove').click()",
        name,
    )


def is_opened(name):
    return f"document.querySelector('[aria-current]')?.title === '{name}' && {READY}"
