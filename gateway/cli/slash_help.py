"""What `/?` prints."""

GENERAL = """\
Commands:
  /set             Change parameters, the system message and the display
  /show            Show facts about the model
  /load <model>    Go on with another model
  /save <model>    Keep this session as a model
  /list            List the installed models
  /clear           Forget the conversation
  /bye             Leave
  /?, /help        Help on a command, as in /help set
  /? shortcuts     Help on keys

Begin with triple quotes to write several lines, and end with them.
A model that sees or hears gets the files whose paths stand in a message, as in ./photo.png."""

SET = """\
Commands:
  /set parameter <name> <value>   Set an option, such as temperature or num_ctx
  /set system <text>              Set the system message; triple quotes for several lines
  /set history, /set nohistory    Keep what is typed, or not
  /set wordwrap, /set nowordwrap  Break lines between words, or not
  /set format json, /set noformat Answer in JSON, or freely
  /set verbose, /set quiet        Show counts and durations, or not
  /set think [level]              Think before answering
  /set nothink                    Answer at once"""

SHOW = """\
Commands:
  /show info          Show the model's description
  /show license       Show its license
  /show modelfile     Show its Modelfile
  /show parameters    Show its parameters, and those of this session
  /show system        Show the system message
  /show template      Show the prompt template"""

SHORTCUTS = """\
Keys:
  Ctrl+A, Ctrl+E    To the start, to the end of the line
  Alt+B, Alt+F      Back, forward by one word
  Ctrl+K, Ctrl+U    Delete to the end, to the start of the line
  Ctrl+W            Delete the word before the cursor
  Ctrl+L            Clear the screen
  Ctrl+C            Stop the answer
  Ctrl+D            Leave"""
