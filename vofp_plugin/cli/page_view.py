"""What `vofp page` shows: fields and buttons of Gradio around a `Studio`."""

from functools import wraps

import gradio as gr
import pandas as pd

TAKES = ["Take", "Seconds", "Quality", "Why"]
ANSWERS = ["Enrollment", "Word", "Probability"]
FORGOTTEN_AFTER = 600  # s, of recordings
INTRODUCTION = """# Words in your voice
Record takes of about one second, each one of the words that the model knows: {words}. Enroll, then
ask. Recordings stay on this machine and are forgotten; profiles hold no audio."""


def view_of(studio):
    """Makes the page of a `Studio`: `gradio.Blocks`."""
    words = ", ".join(studio.spotter.hparams.label_encoder.lab2ind)
    with gr.Blocks(
        title="vofp", analytics_enabled=False, delete_cache=(60, FORGOTTEN_AFTER)
    ) as page:
        gr.Markdown(INTRODUCTION.format(words=words))
        with gr.Row():
            with gr.Column():
                name, enrolled = _enrolling(studio)
            with gr.Column():
                speaker = _asking(studio)
        enrolled.success(lambda name: _choices(studio, name.strip()), name, speaker)
        page.load(lambda: _choices(studio), None, speaker)
    return page


def _enrolling(studio):
    """Fields that enroll; gives that of the name, and the event of being enrolled."""
    takes = gr.State([])
    name = gr.Textbox(label="Name", elem_id="name")
    recording = _recorder("Take", "take")
    table = gr.Dataframe(headers=TAKES, label="Takes", interactive=False, elem_id="takes")
    with gr.Row():
        enroll = gr.Button("Enroll", variant="primary", elem_id="enroll")
        again = gr.Button("Start over", elem_id="again")
    message = gr.Markdown(elem_id="enrolled")

    @_told
    def keep(takes, path):
        takes = [*takes, studio.take(path)]
        return takes, _rows(takes), None

    @_told
    def store(name, takes):
        profile = studio.enroll(name, takes)
        score, reason = profile.quality
        used = f"{profile.num_used} of {len(profile.qualities)} takes used, quality {score:.2f}"
        return [], [], f"{used}{reason and f' ({reason})'}"

    done = [recording.upload, recording.stop_recording]
    gr.on(done, keep, [takes, recording], [takes, table, recording])
    again.click(lambda: ([], [], ""), None, [takes, table, message])
    return name, enroll.click(store, [name, takes], [takes, table, message])


def _asking(studio):
    """Fields that ask; gives that of the speaker."""
    speaker = gr.Dropdown(label="Speaker", elem_id="speaker")
    recording = _recorder("Test", "test")
    answers = gr.Dataframe(headers=ANSWERS, label="Heard", interactive=False, elem_id="answers")
    curve = gr.LinePlot(
        x="time",
        y="probability",
        color="enrollment",
        y_lim=[0, 1],
        x_title="Time (s)",
        y_title="Probability of the word",
        elem_id="curve",
    )
    delete = gr.Button("Delete this profile", variant="stop", elem_id="delete")

    @_told
    def ask(name, path):
        found, (word, moments) = studio.answers(name, path), studio.curve(name, path)
        rows = [[answer.enrollment, answer.word, f"{answer.probability:.3f}"] for answer in found]
        return rows, gr.LinePlot(pd.DataFrame(moments), title=f"Where “{word}” is")

    @_told
    def remove(name):
        studio.store.delete(name)
        return _choices(studio), [], None

    gr.on([recording.upload, recording.stop_recording], ask, [speaker, recording], [answers, curve])
    delete.click(remove, speaker, [speaker, answers, curve])
    return speaker


def _recorder(label, identity):
    sources = ["microphone", "upload"]
    return gr.Audio(sources=sources, type="filepath", label=label, elem_id=identity)


def _rows(takes):
    return [
        [number, f"{take.seconds:.1f}", f"{take.quality.score:.2f}", take.quality.reason or "good"]
        for number, take in enumerate(takes, start=1)
    ]


def _choices(studio, name=None):
    """The dropdown of all speakers, of whom one is chosen."""
    names = studio.store.names()
    return gr.Dropdown(choices=names, value=name or next(iter(names), None))


def _told(function):
    """The function, whose errors the page tells."""

    @wraps(function)
    def telling(*arguments):
        try:
            return function(*arguments)
        except (OSError, ValueError, TypeError) as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error
        except KeyError as error:  # whose own text is quoted
            raise gr.Error(error.args[0], duration=None, print_exception=False) from error

    return telling
